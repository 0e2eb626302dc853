"""`Variables`: settings from the environment, from `.env`, and from the files that they name."""

from collections.abc import Mapping
from pathlib import Path

from slayq_tw.envfile import Setting, settings
from slayq_tw.errors import ConfigError

FILE_SUFFIX = "_FILE"
"""Of the variable that names a file with the value: where container engines put secrets."""
DOTENV = ".env"


class Variables:
    """Reads variables, and collects what is wrong with them.

    Each may be given as `NAME`, or as `NAME_FILE`: a file's path, whose contents without one line break at the end are
    the value. `.env` counts for what the environment has in neither form. `$` in it is a character like any other.

    Args:
        environ: the environment.
        folder: where `.env` is looked for, and where relative paths begin.

    Attributes:
        faults: one line each.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self.faults: list[str] = []
        self._folder = folder
        self._environ = environ
        self._settings = self._dotenv()

    def required(self, name: str, meaning: str) -> str:
        """A variable's value; the empty string after a fault.

        Args:
            name: without the suffix.
            meaning: what it is, for the fault when it is missing.
        """
        try:
            value = self._value(name)
        except ConfigError as error:
            self.faults.append(str(error))
            return ""
        if not value:
            self.faults.append(f"{name}: {'not set' if value is None else 'empty'}; it is {meaning}")
        return value or ""

    def optional(self, name: str) -> str | None:
        """A variable's value. None when it is not set, or empty: a compose file's `${NAME:-}` makes it so."""
        try:
            return self._value(name) or None
        except ConfigError as error:
            self.faults.append(str(error))
            return None

    def _value(self, name: str) -> str | None:
        for value_of in (self._environ.get, self._setting):
            value, path = value_of(name), value_of(name + FILE_SUFFIX)
            if value and path:
                raise ConfigError(f"{name}: {name}{FILE_SUFFIX} is set as well; set only one of them")
            if path:
                return self._contents(name + FILE_SUFFIX, path)
            if value is not None:
                return value
        return None

    def _setting(self, name: str) -> str | None:
        """What `.env` says."""
        if (setting := self._settings.get(name)) is None:
            return None
        if setting.unclosed:
            raise ConfigError(
                f"{name}: {DOTENV}, line {setting.line}: the value begins with a quotation mark and does not end with "
                "one; a mark that belongs to the value must stand, with all of it, between marks of another kind"
            )
        return setting.value

    def _contents(self, variable: str, path: str) -> str:
        try:
            data = (self._folder / path).read_bytes()
        except OSError as error:
            raise ConfigError(f"{variable}: {path} cannot be read: {error.strerror or error}") from error
        except ValueError as error:  # a zero byte, which only `.env` can bring
            raise ConfigError(f"{variable}: is not a path") from error
        data = data[:-2] if data.endswith(b"\r\n") else data.removesuffix(b"\n")
        if not data:
            raise ConfigError(f"{variable}: {path} is empty")
        return data.decode("utf-8", "surrogateescape")  # as the environment's own values are decoded

    def _dotenv(self) -> Mapping[str, Setting]:
        try:
            data = (self._folder / DOTENV).read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            self.faults.append(f"{DOTENV}: cannot be read: {error.strerror or error}")
            return {}
        try:
            return settings(data.decode())
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self.faults.append(f"{DOTENV}, line {line}: is not UTF-8")
        return {}
