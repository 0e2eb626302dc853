"""Reads a JSON or YAML file into plain values, and remembers what both formats would forget: repeated keys."""

import json
from collections import Counter
from collections.abc import Generator, Hashable
from pathlib import Path
from typing import Any, NoReturn

import yaml

from slayq_tw.errors import ConfigError

YAML_SUFFIXES = (".yaml", ".yml")

_MERGE = "tag:yaml.org,2002:merge"


class Table(dict[Hashable, Any]):
    """An object of the file.

    Attributes:
        repeated: the keys that stand in it more than once, of which the last one counts.
    """

    repeated: tuple[Hashable, ...] = ()


def read(path: Path) -> object:
    """What a file holds: YAML if its suffix says so, JSON otherwise; in UTF-8, with or without a byte order mark.

    Raises:
        ConfigError: it cannot be read; the text says why, with line and column where there is one.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}") from error
    if not text.strip():
        raise ConfigError("is empty")
    try:
        return _from_yaml(text) if path.suffix.lower() in YAML_SUFFIXES else _from_json(text)
    except RecursionError as error:
        raise ConfigError("is nested too deeply") from error


def _from_json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_table, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        reason = f"{error.msg[:1].lower()}{error.msg[1:]}"
        raise ConfigError(f"is no JSON: line {error.lineno}, column {error.colno}: {reason}") from error
    except ValueError as error:
        raise ConfigError(f"is no JSON: {error}") from error


def _from_yaml(text: str) -> object:
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"is no YAML: {where}{error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"is no YAML: {' '.join(str(error).split())}") from error
    except (
        LookupError,
        AttributeError,
    ) as error:  # PyYAML's own, for `!!bool x`, `!!int ""`, `!!timestamp x`
        raise ConfigError("is no YAML: a value does not fit its tag") from error


def _table(pairs: list[tuple[Any, Any]]) -> Table:
    table = Table(pairs)
    table.repeated = _repeated([key for key, _ in pairs])
    return table


def _repeated(keys: list[Any]) -> tuple[Hashable, ...]:
    return tuple(key for key, count in Counter(keys).items() if count > 1)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


class _Loader(yaml.SafeLoader):
    """Safe, and builds a `Table` of every mapping."""

    def construct_table(self, node: yaml.MappingNode) -> Generator[Table]:
        """In two steps, as PyYAML wants it for aliases that point back."""
        table = Table()
        yield table
        own_keys = [key for key, _ in node.value if key.tag != _MERGE]  # an own key may override a merged one
        table.update(self.construct_mapping(node))
        table.repeated = _repeated([self.construct_object(key, deep=True) for key in own_keys])


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_table)
