"""What a piece of SQL leaves to the search path: every name in it that has no schema, parsed with Postgres's own grammar.

Operators that the grammar names by itself count too: `IN`, `IS DISTINCT FROM`, `BETWEEN`, `LIKE`, `USING`, `NULLIF` and a
simple `CASE` look theirs up along the search path, and cannot be told otherwise.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pglast import ast, parse_plpgsql, parse_sql
from pglast.parser import ParseError
from pglast.stream import RawStream

PARAMETER = re.compile(r"%\((\w+)\)s")
_AS_FUNCTION = "CREATE FUNCTION a_block() RETURNS void LANGUAGE plpgsql AS $body$ {body} $body$"
_ASSIGNED = re.compile(r"\s*[\w.]+(?:\[[^\]]*\])?\s*:?=\s*(?!=)")
_DECLARATIONS = re.compile(r"\bDECLARE\b(.*?)\bBEGIN\b", re.S)
_DECLARED = re.compile(r"^\s+\w+\s+(?:CONSTANT\s+)?([\w.]+)", re.M)
_KEYWORDS = frozenset({"integer", "bigint", "smallint", "boolean", "record", "interval"})
"""Types that the grammar itself names."""
_OURS = re.compile(r"\b(?:graphile_worker|slayq)\.\w+")


class Name(NamedTuple):
    """One name.

    Attributes:
        kind: `function`, `operator`, `type`, `table` or `syntax`.
        schema: None where there is none.
        name: an operator's is its symbol.
    """

    kind: str
    schema: str | None
    name: str


def names(sql: str) -> set[Name]:
    """Every name in a string of SQL, function bodies included; psycopg2's parameters are values."""
    found: set[Name] = set()
    for statement in parse_sql(PARAMETER.sub("NULL", sql).replace("%%", "%")):
        found |= set(_of(statement.stmt, frozenset()))
    return found


def bare(sql: str) -> list[str]:
    """The names that have no schema, sorted, such as `function now` and `operator =`."""
    return sorted(f"{name.kind} {name.name}" for name in names(sql) if name.schema is None)


def _of(node: Any, ctes: frozenset[str]) -> Iterator[Name]:
    if isinstance(node, list | tuple):
        for one in node:
            yield from _of(one, ctes)
        return
    if not isinstance(node, ast.Node):
        return
    with_clause = getattr(node, "withClause", None)
    if with_clause is not None:
        ctes = ctes | {cte.ctename for cte in with_clause.ctes}
    if isinstance(node, ast.CreateFunctionStmt | ast.DoStmt):
        yield from _body(node)
    yield from _own(node, ctes)
    for attribute in node:
        yield from _of(getattr(node, attribute), ctes)


def _own(node: ast.Node, ctes: frozenset[str]) -> Iterator[Name]:
    """What the node itself names."""
    if isinstance(node, ast.RangeFunction):
        for call, *_ in node.functions:
            if isinstance(call, ast.FuncCall) and len(call.args or ()) > 1 and _is_unnest(call):
                call.funcname = (ast.String("pg_catalog"), *call.funcname)  # so the grammar has it
    elif isinstance(node, ast.FuncCall):
        yield _named("function", node.funcname)
    elif isinstance(node, ast.A_Expr):
        yield _named("operator", node.name)
    elif isinstance(node, ast.SubLink) and node.testexpr is not None:
        yield _named("operator", node.operName) if node.operName else Name("syntax", None, "IN (SELECT …)")
    elif isinstance(node, ast.CaseExpr) and node.arg is not None:
        yield Name("syntax", None, "CASE value WHEN")
    elif isinstance(node, ast.JoinExpr) and (node.usingClause or node.isNatural):
        yield Name("syntax", None, "USING")
    elif isinstance(node, ast.SortBy) and node.useOp:
        yield _named("operator", node.useOp)
    elif isinstance(node, ast.TypeName):
        yield _named("type", node.names)
    elif isinstance(node, ast.RangeVar) and not (node.schemaname is None and node.relname in ctes):
        yield Name("table", node.schemaname, node.relname)


def _is_unnest(call: ast.FuncCall) -> bool:
    return [part.sval for part in call.funcname] == ["unnest"]


def _named(kind: str, parts: Any) -> Name:
    *schema, name = [part.sval for part in parts]
    return Name(kind, schema[0] if schema else None, name)


def _body(node: ast.CreateFunctionStmt | ast.DoStmt) -> Iterator[Name]:
    options = {option.defname: option.arg for option in getattr(node, "options", None) or node.args}
    language = options["language"].sval if "language" in options else "plpgsql"
    text = options["as"].sval if isinstance(options["as"], ast.String) else options["as"][0].sval
    if language == "sql":
        yield from names(text)
        return
    # The parser knows no types but Postgres's own: ours become one of these, which have a schema as well.
    whole = RawStream()(node) if isinstance(node, ast.CreateFunctionStmt) else _AS_FUNCTION.format(body=text)
    for function in parse_plpgsql(_OURS.sub("pg_catalog.text", whole)):
        yield from _plpgsql(function)
    for declarations in _DECLARATIONS.findall(text):  # the parser tells no schema of a variable's type
        for kind in _DECLARED.findall(declarations):
            if kind.lower() not in _KEYWORDS:
                yield Name("type", kind.rpartition(".")[0] or None, kind.rpartition(".")[2])


def _plpgsql(node: Any) -> Iterator[Name]:
    """Names in what libpg_query tells of a function's body."""
    if isinstance(node, list):
        for one in node:
            yield from _plpgsql(one)
    elif isinstance(node, dict):
        for kind, value in node.items():
            if kind == "PLpgSQL_expr":
                yield from _expression(value["query"])
            else:
                yield from _plpgsql(value)


def _expression(query: str) -> Iterator[Name]:
    assigned = _ASSIGNED.match(query)
    try:
        yield from names(query[assigned.end() :] if assigned else query)
    except ParseError:  # it is no statement but an expression
        yield from names(f"SELECT {query[assigned.end() :] if assigned else query}")


class Function(NamedTuple):
    """A function that a script creates.

    Attributes:
        name: without its schema.
        path: of its own `SET search_path`; None where it has none.
        bare: the names in its body that have no schema.
    """

    name: str
    path: list[str] | None
    bare: list[str]


def functions(sql: str) -> list[Function]:
    """The functions that a script creates, in order."""
    return [_function(one.stmt) for one in parse_sql(sql) if isinstance(one.stmt, ast.CreateFunctionStmt)]


def _function(node: ast.CreateFunctionStmt) -> Function:
    path = None
    for option in node.options:
        if option.defname == "set" and option.arg.name == "search_path":
            path = [one.val.sval for one in option.arg.args]
    found = sorted({f"{name.kind} {name.name}" for name in _body(node) if name.schema is None})
    return Function(node.funcname[-1].sval, path, found)
