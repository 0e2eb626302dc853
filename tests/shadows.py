"""`Shadows`: in `public`, a better match of every function, operator and type that our SQL names, made by a role that may
create there and nothing more. Whatever is called counts itself, which no rollback undoes, and raises.

Where a name is looked up with `public` on the path, an exact match there wins over one that has to be converted to; and
with `public` before `pg_catalog`, over any.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import psycopg2

from slayq_tw.sqlfiles import migration_files, named_queries
from tests.application import Application
from tests.sqlnames import Name, names

ROOT = Path(__file__).parent.parent
NUMBERS = ("smallint", "integer", "bigint", "double precision", "numeric")
ELEMENTS = (*NUMBERS, "text", "boolean", "timestamp with time zone", "json", "jsonb")
POLYMORPHIC = {
    "anyelement": "{}", "anynonarray": "{}", "anycompatible": "{}", "anycompatiblenonarray": "{}", '"any"': "{}",
    "anyarray": "{}[]", "anycompatiblearray": "{}[]", "anyenum": "{}", "anyrange": "int4range",
    "anymultirange": "int4range", "anycompatiblerange": "int4range", "anycompatiblemultirange": "int4range",
}  # fmt: skip
UNUSABLE = ("internal", "cstring", "record", "trigger", "event_trigger", "fdw_handler", "void")
MORE_ARGUMENTS = {
    "json_build_object": [("text", "double precision", "text", "bigint"), ("text", "double precision", "text", "integer")],
    "format": [("text", "text"), ("text", "bigint", "integer"), ("text", "integer", "integer"), ("text", "name", "name")],
    "concat": [("text", "text"), ("text", "text", "text"), ("text", "json")],
}  # fmt: skip
"""Of functions that take any number of arguments of any types."""
TRAP = """LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_catalog.nextval('public.shadow_calls'::pg_catalog.regclass);
  RAISE EXCEPTION 'shadow: {what} was called by %', current_user;
END $$"""
MOST = 60
"""Signatures of one function, at most."""


def all_names() -> set[Name]:
    """Every name in our SQL."""
    texts = [
        path.read_text("utf-8")
        for path in sorted((ROOT / "sql").glob("*/*.sql"))
        if path.parent.name != "queries"
    ]
    for path in sorted((ROOT / "sql" / "queries").glob("*.sql")):
        texts += named_queries(path.name).values()
    assert len(migration_files()) > 10
    found: set[Name] = set()
    for text in texts:
        found |= names(text)
    return found


class Shadows:
    """They stand in one database.

    Args:
        owner: a superuser's connection.
        creator: the connection of a role with CREATE on `public`.
    """

    def __init__(self, owner: Application, creator: Application) -> None:
        self._owner = owner
        self._creator = creator
        self._number = 0
        self.count = 0

    def create(self) -> None:
        """Make them all."""
        ours = all_names()
        self._creator.rows("SET search_path = pg_catalog")
        self._creator.rows(
            "CREATE SEQUENCE public.shadow_calls; GRANT ALL ON SEQUENCE public.shadow_calls TO PUBLIC"
        )
        self._functions({name.name for name in ours if name.kind == "function"})
        self._operators({name.name for name in ours if name.kind == "operator"})
        self._cast()
        self._types({name.name for name in ours if name.kind == "type"})

    @property
    def calls(self) -> int:
        """How often any of them was called."""
        self._owner.rows("SET search_path = pg_catalog")
        return int(
            self._owner.value(
                "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM public.shadow_calls"
            )
        )

    def _make(self, statement: str) -> None:
        try:
            self._creator.rows(statement)
        except psycopg2.Error as error:
            if error.pgcode not in ("42723", "42P13", "42883", "42701", "42704", "42809", "42P16"):
                raise
        else:
            self.count += 1

    def _functions(self, wanted: set[str]) -> None:
        found = self._owner.rows(
            "SELECT proname::text, ARRAY(SELECT pg_catalog.format_type(kind, NULL) FROM pg_catalog.unnest(proargtypes) "
            "WITH ORDINALITY AS one (kind, place) ORDER BY place), pg_catalog.format_type(prorettype, NULL), proretset, "
            "prokind = 'f' AND provariadic <> 0 FROM pg_catalog.pg_proc "
            "WHERE pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND proname = ANY (%s)",
            sorted(wanted),
        )
        assert {row[0] for row in found} > {"unnest", "exp", "random", "now", "count", "format"}, found
        for name, arguments, returned, is_set, _ in found:
            for kinds, element in _variants(arguments):
                result = _concrete(returned, element)
                result = "text" if result in UNUSABLE else result
                self._function(name, kinds, f"SETOF {result}" if is_set else result)
        for name in wanted & MORE_ARGUMENTS.keys():
            for kinds in MORE_ARGUMENTS[name]:
                self._function(name, kinds, "json" if name.startswith("json") else "text")

    def _function(self, name: str, kinds: Iterable[str], returned: str) -> None:
        signature = f'public."{name}"({", ".join(kinds)})'
        self._make(
            f"CREATE FUNCTION {signature} RETURNS {returned} {TRAP.format(what=signature.replace('%', '%%'))}"
        )

    def _operators(self, wanted: set[str]) -> None:
        found = self._owner.rows(
            "SELECT oprname::text, pg_catalog.format_type(oprleft, NULL), pg_catalog.format_type(oprright, NULL), "
            "pg_catalog.format_type(oprresult, NULL), oprleft = 0 FROM pg_catalog.pg_operator WHERE oprname = ANY (%s)",
            sorted(wanted),
        )
        assert {"=", "||", "<", "+"} <= {row[0] for row in found}
        seen: set[tuple[str, str, str]] = set()
        for name, left, right, result, prefix in found:
            if prefix:
                continue
            for (one, other), element in _variants([left, right]):
                if (name, one, other) in seen:
                    continue
                seen.add((name, one, other))
                self._number += 1
                function = f"public.shadow_{self._number}"
                kind = _concrete(result, element)
                what = f"{one} {name} {other}".replace("%", "%%")
                self._make(
                    f"CREATE FUNCTION {function}({one}, {other}) RETURNS {kind} {TRAP.format(what=what)}"
                )
                self._make(
                    f"CREATE OPERATOR public.{name} (leftarg = {one}, rightarg = {other}, function = {function})"
                )

    def _cast(self) -> None:
        """A cast needs a type of one's own: this is all that one can make of Postgres's types."""
        self._make("CREATE TYPE public.shadow AS (value integer)")
        for kind in ELEMENTS:
            for source, target in ((kind, "public.shadow"), ("public.shadow", kind)):
                self._number += 1
                function = f"public.shadow_cast_{self._number}"
                self._make(
                    f"CREATE FUNCTION {function}({source}) RETURNS {target} {TRAP.format(what='a cast')}"
                )
                self._make(
                    f"CREATE CAST ({source} AS {target}) WITH FUNCTION {function}({source}) AS IMPLICIT"
                )
        for name in ("exp", "unnest", "random", "length", "now"):
            self._function(name, ("public.shadow",), "integer")

    def _types(self, wanted: set[str]) -> None:
        self._make(f"CREATE FUNCTION public.shadow_check() RETURNS boolean {TRAP.format(what='a type')}")
        for kind in sorted(wanted | {"text", "json", "jsonb", "timestamptz", "bool", "regclass"}):
            self._make(f'CREATE DOMAIN public."{kind}" AS pg_catalog.text CHECK (public.shadow_check())')


def _variants(arguments: list[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Signatures that fit as well or better, each with what polymorphic types stand for in it."""
    if any(kind in UNUSABLE for kind in arguments):
        return
    elements = ELEMENTS if any(kind in POLYMORPHIC for kind in arguments) else ("text",)
    made = 0
    for element in elements:
        kinds = [_concrete(kind, element) for kind in arguments]
        options = [NUMBERS if kind in NUMBERS and element == "text" else (kind,) for kind in kinds]
        for one in product(*options):
            made += 1
            if made <= MOST:
                yield one, element


def _concrete(kind: str, element: str) -> str:
    return POLYMORPHIC[kind].format(element) if kind in POLYMORPHIC else kind


def settle_in(owner: Application, creator: Application) -> Any:
    """Make shadows and put `public` first on every new session's path."""
    shadows = Shadows(owner, creator)
    shadows.create()
    owner.rows("SET search_path = pg_catalog")
    database = owner.value("SELECT pg_catalog.quote_ident(pg_catalog.current_database())")
    owner.rows(f"ALTER DATABASE {database} SET search_path = public, pg_catalog")
    return shadows
