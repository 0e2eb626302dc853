"""Reads `sql/`: numbered migrations, named queries, single scripts."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_NUMBERED = re.compile(r"(\d{4})_[a-z0-9_]+\.sql\Z")
_HEADING = re.compile(r"-- name: ([a-z][a-z0-9_]*)\Z")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file.

    Attributes:
        name: the file's name without its suffix.
        sql: its text, one or more statements.
    """

    name: str
    sql: str


def in_order(names: list[str]) -> list[str]:
    """File names of migrations, by their numbers.

    Raises:
        ValueError: a name that is no migration's, a number that stands twice, or one that is left out.
    """
    for name in names:
        if not _NUMBERED.match(name):
            raise ValueError(f"{name}: not named NNNN_what_it_does.sql")
    ordered = sorted(names)
    for expected, name in enumerate(ordered, 1):
        if int(name[:4]) != expected:
            raise ValueError(f"{name}: expected number {expected:04}")
    return ordered


def parse_queries(text: str) -> dict[str, str]:
    """The queries of a file in which each begins with a line `-- name: …`; comment lines are left out.

    Raises:
        ValueError: a name that stands twice, or SQL before the first.
    """
    queries: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in text.splitlines():
        if heading := _HEADING.match(line):
            name = heading[1]
            if name in queries:
                raise ValueError(f"query {name} stands twice")
            lines = queries[name] = []
        elif line.startswith("--") or not line.strip():
            continue
        elif lines is None:
            raise ValueError(f"SQL before the first name: {line}")
        else:
            lines.append(line)
    return {name: "\n".join(lines) for name, lines in queries.items()}


def script(folder: str, name: str) -> str:
    """The text of `sql/<folder>/<name>`, in ASCII: a database in another encoding than UTF-8 takes no other comments."""
    return (files("slayq_tw") / "sql" / folder / name).read_text("utf-8").replace("…", "...")


@cache
def named_queries(name: str) -> dict[str, str]:
    """The queries of `sql/queries/<name>`, by name."""
    return parse_queries(script("queries", name))


@cache
def migration_files() -> tuple[Migration, ...]:
    """The numbered files of `sql/migrations`, in their order."""
    folder = files("slayq_tw") / "sql" / "migrations"
    names = [entry.name for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return tuple(Migration(name.removesuffix(".sql"), script("migrations", name)) for name in in_order(names))
