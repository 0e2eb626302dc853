"""Each promise of SECURITY.md names tests that exist."""

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?(?:::(\w+))?`")


class SecurityTests(SynchronousTestCase):
    """The document and the suite."""

    def test_promises(self) -> None:
        """Each row of a table of promises names at least one test; each name leads somewhere."""
        text = (ROOT / "SECURITY.md").read_text("utf-8")
        promises = [line for line in text.splitlines() if re.match(r"\| [A-Z]", line)]
        self.assertGreater(len(promises), 10)
        for promise in promises:
            self.assertRegex(promise, NAMED)
        for path, class_name, test in NAMED.findall(text):
            module = ast.parse((ROOT / path).read_text("utf-8"))
            if not class_name:
                continue
            classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
            self.assertIn(class_name, classes, path)
            if test:
                body = classes[class_name].body
                functions = {
                    one.name for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
                }
                self.assertIn(test, functions, path)
