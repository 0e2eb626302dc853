"""`Variables`: settings from the environment, from `.env`, and from the files that they name."""

from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from slayq_tw.errors import ConfigError

FILE_SUFFIX = "_FILE"
"""Of the variable that names a file with the value: where container engines put secrets."""
DOTENV = ".env"


class Variables:
    """Reads variables, and collects what is wrong with them.

    Each may be given as `NAME`, or as `NAME_FILE`: a file's path, whose contents without one line break at the end are
    the value. `.env` counts for what the environment has in neither form.

    Args:
        environ: the environment.
        folder: where `.env` is looked for, and where relative paths begin.

    Attributes:
        faults: one line each.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self.faults: list[str] = []
        self._folder = folder
        self._sources: tuple[Mapping[str, str | None], ...] = (environ, self._dotenv())

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
        for source in self._sources:
            value, path = source.get(name), source.get(name + FILE_SUFFIX)
            if value and path:
                raise ConfigError(f"{name}: {name}{FILE_SUFFIX} is set as well; set only one of them")
            if path:
                return self._contents(name + FILE_SUFFIX, path)
            if value is not None:
                return value
        return None

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

    def _dotenv(self) -> Mapping[str, str | None]:
        try:
            # No interpolation: `$` is a character like any other in a secret.
            return dotenv_values(self._folder / DOTENV, interpolate=False, encoding="utf-8-sig")
        except OSError as error:
            self.faults.append(f"{DOTENV}: cannot be read: {error.strerror or error}")
        except UnicodeDecodeError:
            self.faults.append(f"{DOTENV}: is not UTF-8")
        return {}
