"""The 72 assertions of the job schema's specification: which test shows each, or why it is not ours.

A test shows an assertion by naming it in its docstring: `(item 32)`, `(items 40, 45)`.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

COUNT = 72
NOT_OURS = {
    10: "the daemon's schema is always called graphile_worker: upstream's is too",
    47: "there is no run-once mode",
    58: "forbidden flags are a setting of Node's that SlayQ does not have",
    65: "there is no crontab file: the one item is the tick",
    68: "the tick has no fill: a late one is worth nothing",
    71: "a task of ours is a delivery, which has no partial failure",
}
_ITEMS = re.compile(r"\(items? (\d+(?:, \d+)*)\)")


def shown() -> dict[int, list[str]]:
    """For each number, the tests whose docstrings name it, as `file::test`."""
    folder = Path(__file__).parent
    tests: dict[int, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for found in _ITEMS.finditer(ast.get_docstring(node) or ""):
                    for number in found[1].split(", "):
                        tests[int(number)].append(f"{path.relative_to(folder)}::{node.name}")
    return tests


def report() -> list[str]:
    """A line for each number."""
    tests = shown()
    return [
        f"{number:2}  {', '.join(tests[number]) or 'not ours: ' + NOT_OURS.get(number, '?')}"
        for number in range(1, COUNT + 1)
    ]
