"""The table of signature vectors, made by a JavaScript engine."""

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.signing import canonical_json, sign

VECTORS = Path(__file__).parent / "vectors" / "js-json.jsonl"
VECTOR_COUNT = 1500


class VectorTests(SynchronousTestCase):
    """Every line reproduces `canonical` and `signature` from `text` and `secret`."""

    def test_every_vector(self) -> None:
        """All 1,500 of them."""
        # Not splitlines(): that would also break at a raw U+2028.
        lines = VECTORS.read_text("utf-8").rstrip("\n").split("\n")
        self.assertEqual(len(lines), VECTOR_COUNT)
        for number, line in enumerate(lines, 1):
            vector = json.loads(line)
            body = canonical_json(vector["text"])
            self.assertEqual(body, vector["canonical"].encode(), f"line {number}: {vector['text']!r}")
            self.assertEqual(sign(body, vector["secret"].encode()), vector["signature"], f"line {number}")
