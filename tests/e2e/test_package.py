"""What a user installs: the sdist and the wheel carry everything, and `twistd` finds the plugin from any folder.

The packages are built once, without a network, from a copy of the checkout; each venv sees this one's Twisted
through a `.pth` file instead of installing it again.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.processes import ROOT

PATIENCE = 60.0
"""Seconds that one command may take."""
WITH_TWISTED_TLS = {"OpenSSL", "service_identity"}
"""Modules that are needed by way of `twisted[tls]`."""
NOT_COPIED = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "node_modules", "build", "dist", "_trial_temp*", "dropin.cache"
)


def run(*command: str | Path, folder: Path, status: int = 0, variables: dict[str, str] | None = None) -> str:
    """Run a command with nothing of this checkout in its environment; its output, both streams."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**environment, **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if ended.returncode != status:
        raise AssertionError(f"{command}: ended with {ended.returncode}, expected {status}:\n{ended.stdout}")
    return ended.stdout


def canonical(name: str) -> str:
    """A distribution's name as the index writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


class PackageTests(SynchronousTestCase):
    """Built once for all tests of this class."""

    folder: ClassVar[Path]
    source: ClassVar[Path]
    sdist: ClassVar[Path]
    unpacked: ClassVar[Path]
    wheel: ClassVar[Path]
    wheel_of_sdist: ClassVar[Path]
    installed: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        """Build an sdist and a wheel of the checkout, and a wheel of the sdist."""
        super().setUpClass()
        cls.folder = Path(tempfile.mkdtemp(prefix="slayq-package-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.source = cls.folder / "source"
        shutil.copytree(ROOT, cls.source, symlinks=True, ignore=NOT_COPIED)
        build = (sys.executable, "-m", "build", "--no-isolation")
        run(*build, "--sdist", "--wheel", "--outdir", cls.folder / "made", cls.source, folder=cls.folder)
        (cls.sdist,) = (cls.folder / "made").glob("*.tar.gz")
        (cls.wheel,) = (cls.folder / "made").glob("*.whl")
        with tarfile.open(cls.sdist) as archive:
            archive.extractall(cls.folder / "unpacked", filter="data")
        (cls.unpacked,) = (cls.folder / "unpacked").iterdir()
        run(*build, "--wheel", "--outdir", cls.folder / "again", cls.unpacked, folder=cls.folder)
        (cls.wheel_of_sdist,) = (cls.folder / "again").glob("*.whl")
        cls.installed = cls.new_venv("installed", str(cls.wheel))

    @classmethod
    def files(cls, *patterns: str) -> set[str]:
        """Files of the checkout, relative to it."""
        found = {
            path.relative_to(cls.source).as_posix()
            for pattern in patterns
            for path in cls.source.glob(pattern)
        }
        assert found, patterns
        return found

    @classmethod
    def new_venv(cls, name: str, *install: str) -> Path:
        """The `bin` of a new venv with what is installed from the arguments."""
        where = cls.folder / name
        venv.create(where, with_pip=False, symlinks=True)
        binaries = where / "bin"
        paths = {"base": str(where), "platbase": str(where)}
        outer = Path(sysconfig.get_path("purelib", "venv", vars=paths)) / "outer.pth"
        outer.write_text(sysconfig.get_path("purelib") + "\n")
        options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation")
        run(
            binaries / "python", "-m", "pip", "install", "--root-user-action=ignore", *options, *install, folder=where
        )  # fmt: skip
        return binaries

    def twistd_help(self, binaries: Path) -> str:
        """What `twistd --help` prints in an empty folder."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        script = "from twisted.scripts.twistd import run; run()"
        return run(binaries / "python", "-c", script, "--help", folder=folder)

    def test_wheel_files(self) -> None:
        """Code, SQL and type marker as they stand in the checkout, the plugin, and nothing else."""
        with zipfile.ZipFile(self.wheel) as archive:
            names = {name for name in archive.namelist() if ".dist-info/" not in name}
            sql = {name: archive.read(name) for name in names if name.endswith(".sql")}
        expected = self.files("slayq_tw/**/*.py", "twisted/plugins/slayq_plugin.py", "slayq_tw/py.typed")
        expected.add("slayq_tw/dev/slay-config.json")
        expected |= {f"slayq_tw/{name}" for name in self.files("sql/*/*.sql")}
        self.assertEqual(names, expected)
        self.assertNotIn("twisted/__init__.py", names)
        self.assertNotIn("twisted/plugins/__init__.py", names)
        for name, text in sql.items():
            self.assertEqual(text, (self.source / name).read_bytes(), name)

    def test_all_sql_is_reached(self) -> None:
        """No SQL lies deeper than what is packed."""
        self.assertEqual(self.files("sql/**/*.sql"), self.files("sql/*/*.sql"))

    def test_sdist_files(self) -> None:
        """The sdist has real files where the checkout has a link, and the tests and what they read."""
        self.assertFalse((self.unpacked / "slayq_tw/sql").is_symlink())
        for name in self.files("sql/*/*.sql"):
            self.assertTrue((self.unpacked / "slayq_tw" / name).is_file(), name)
        for name in (
            "tests/conftest.py",
            "tests/node/receiver.mjs",
            "docker/Dockerfile",
            "slay-config.schema.json",
        ):
            self.assertTrue((self.unpacked / name).is_file(), name)

    def test_wheel_of_the_sdist(self) -> None:
        """It is the same wheel."""

        def contents(path: Path) -> dict[str, int]:
            with zipfile.ZipFile(path) as archive:
                return {
                    info.filename: info.CRC
                    for info in archive.infolist()
                    if not info.filename.endswith("RECORD")
                }

        self.assertEqual(contents(self.wheel_of_sdist), contents(self.wheel))

    def test_installed_plugin(self) -> None:
        """`twistd --help` names `slayq`, from a folder that has nothing to do with it."""
        self.assertRegex(self.twistd_help(self.installed), r"(?m)^\s+slayq\s+\S")

    def test_installed_sql(self) -> None:
        """The installed package reads its own SQL."""
        script = (
            "import slayq_tw, slayq_tw.sqlfiles as s; print(slayq_tw.__file__);"
            "print(*(m.name for m in s.migration_files())); print(len(s.named_queries('jobs.sql')))"
        )
        origin, migrations, queries = run(
            self.installed / "python", "-c", script, folder=self.folder
        ).splitlines()
        self.assertTrue(Path(origin).is_relative_to(self.folder / "installed"), origin)
        self.assertEqual(
            migrations.split(), sorted(path.stem for path in self.source.glob("sql/migrations/*.sql"))
        )
        self.assertGreater(int(queries), 5)

    def test_installed_server(self) -> None:
        """`slay-q-server` without an environment ends with 1 and says what is missing, without a traceback."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        shutil.copy(ROOT / "slay-config.json", folder)
        report = run(self.installed / "slay-q-server", folder=folder, status=1)
        for name in ("SLAY_Q_DATABASE_URL", "SLAY_Q_SECRET", "SLAY_Q_CRON_URL"):
            self.assertIn(name, report)
        self.assertNotIn("Traceback", report)

    def test_installed_health(self) -> None:
        """`slayq health` is there as well."""
        self.assertIn(
            "not working", run(self.installed / "slayq", "health", "nowhere", folder=self.folder, status=1)
        )

    def test_editable_install(self) -> None:
        """So it is with an editable install, which reads the checkout's own files."""
        binaries = self.new_venv("editable", "--editable", str(self.source))
        self.assertRegex(self.twistd_help(binaries), r"(?m)^\s+slayq\s+\S")
        script = "import slayq_tw.sqlfiles as s; print(s.__file__, len(s.migration_files()))"
        origin, count = run(binaries / "python", "-c", script, folder=self.folder).split()
        self.assertTrue(Path(origin).is_relative_to(self.source), origin)
        self.assertEqual(int(count), len(self.files("sql/migrations/*.sql")))

    def test_dependencies(self) -> None:
        """What the package imports is what it declares to need, and the other way round."""
        imported: set[str] = set()
        for path in self.source.glob("slayq_tw/**/*.py"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    imported.add(str(node.module).partition(".")[0])
        owners = packages_distributions()
        needed = [
            {canonical(name) for name in owners[module]}
            for module in imported - sys.stdlib_module_names - {"slayq_tw"} - WITH_TWISTED_TLS
        ]
        project = tomllib.loads((self.source / "pyproject.toml").read_text("utf-8"))["project"]
        declared = {canonical(re.split(r"[^\w.-]", entry)[0]) for entry in project["dependencies"]}
        self.assertEqual([names for names in needed if not names & declared], [])
        self.assertEqual(declared - set().union(*needed), set())
