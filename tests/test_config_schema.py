"""The published JSON Schema and the validator agree."""

import copy
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.configcheck import DocumentCheck
from slayq_tw.configfile import read

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads((ROOT / "slay-config.schema.json").read_text("utf-8"))
SAMPLE = json.loads((ROOT / "slay-config.json").read_text("utf-8")) | {
    "timeout": 60,
    "grace": 8,
    "grant_execute_to": ["app"],
    "housekeeping": {"delete_failed_after": 30, "collect_queues": True, "collect_tasks": False},
    "max_payload_mb": 16,
    "allow_private_networks": True,
    "allowed_origins": ["https://app.example.com"],
    "origin_secrets": {"https://app.example": "SLAY_Q_SECRET_APP"},
    "standard_webhooks": True,
}

FILE_KEYS = [
    "queues",
    "timeout",
    "grace",
    "grant_execute_to",
    "housekeeping",
    "max_payload_mb",
    "allow_private_networks",
    "allowed_origins",
    "origin_secrets",
    "standard_webhooks",
    "$schema",
]
OTHER_KEYS = [
    "concurrency",
    "alias",
    "delete_failed_after",
    "collect_queues",
    "collect_tasks",
    "Concurrency",
    "mail",
    "cronQueue",
    "",
    "a.b",
    "x" * 128,
    "x" * 129,
    "http://b.example:3000/",
    "https://b.example/path",
    "ftp://b.example",
]
KEYS = st.sampled_from(FILE_KEYS + OTHER_KEYS)
SCALARS = (
    st.sampled_from(
        [None, True, False, 0, 1, -1, 1.0, 1.5, 64, 65, 3600, 3600.5, 3601, 86400, 86401, 10000, 10001, 1e300]
    )
    | st.sampled_from(["", "1", "a", "cronQueue", "a\0b", "x" * 63, "x" * 64, "x" * 128, "x" * 129])
    | st.sampled_from(["SLAY_Q_SECRET_B", "SLAY_Q_SECRET_B_FILE", "SLAY_Q_SECRET_PREVIOUS", "SLAY_Q_SECRET"])
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=4,
)


def containers_in(document: Any) -> list[Any]:
    """All objects and arrays of a document."""
    if not isinstance(document, dict | list):
        return []
    members = document.values() if isinstance(document, dict) else document
    return [document, *(inner for member in members for inner in containers_in(member))]


def repeats_an_identifier(document: Any) -> bool:
    """Whether an identifier stands at two places: what the schema says that it cannot express."""
    queues = document.get("queues") if isinstance(document, dict) else None
    if not isinstance(queues, dict):
        return False
    names = list(queues)
    for queue in queues.values():
        if isinstance(queue, dict) and isinstance(queue.get("alias"), list):
            names += dict.fromkeys(alias for alias in queue["alias"] if isinstance(alias, str))
    return len(names) != len(set(names))


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """The sample with some members replaced, removed or added."""
    document = copy.deepcopy(SAMPLE)
    for _ in range(draw(st.integers(0, 3))):
        container = draw(st.sampled_from(containers_in(document)))
        if isinstance(container, list):
            container.insert(draw(st.integers(0, len(container))), draw(VALUES))
        elif container and draw(st.booleans()):
            del container[draw(st.sampled_from(sorted(container)))]
        else:
            container[draw(KEYS | st.sampled_from([*sorted(container), "new"]))] = draw(VALUES)
    return document


class SchemaTests(SynchronousTestCase):
    """For what JSON Schema can express, both say the same."""

    def setUp(self) -> None:
        """Have a file to write to."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "slay-config.json"
        self.schema = Draft202012Validator(SCHEMA)

    def faults(self, document: object) -> list[str]:
        """What the validator finds in a document."""
        self.path.write_text(json.dumps(document), "utf-8")
        check = DocumentCheck()
        check.document(read(self.path))
        return check.faults

    def assertAgreed(self, document: object) -> None:
        """Both accept the document, or both refuse it."""
        faults = self.faults(document)
        errors = [error.message for error in self.schema.iter_errors(document)]
        self.assertEqual(not faults, not errors, f"{document}\nvalidator: {faults}\nschema: {errors}")

    def test_schema_is_one(self) -> None:
        """The schema is valid, and so is the sample by it."""
        Draft202012Validator.check_schema(SCHEMA)
        self.assertEqual(list(self.schema.iter_errors(SAMPLE)), [])
        self.assertEqual(self.faults(SAMPLE), [])

    def test_each_value_at_each_place(self) -> None:
        """A corpus of good and bad values, one at a time at every place of the sample."""
        values: list[Any] = [
            None,
            True,
            0,
            1,
            1.0,
            1.5,
            -1,
            3600,
            3601,
            86400,
            86401,
            10000,
            10001,
            "",
            "a",
            "a\0b",
        ]
        values += [
            "cronQueue",
            "x" * 63,
            "x" * 64,
            "x" * 128,
            "x" * 129,
            [],
            ["a"],
            ["a", "a"],
            [1],
            {},
            {"a": {}},
        ]
        values += ["SLAY_Q_SECRET_B", "SLAY_Q_SECRET_B_FILE", "SLAY_Q_SECRET_PREVIOUS", "SLAY_Q_SECRET"]
        values += [{"https://b.example": "SLAY_Q_SECRET_B"}, {"https://b.example/path": "SLAY_Q_SECRET_B"}]
        values += [{"concurrency": 1}, {"a": {"concurrency": 1}}, {"cronQueue": {"concurrency": 1}}]
        verdicts = set()
        for number, container in enumerate(containers_in(SAMPLE)):
            for key in container if isinstance(container, dict) else range(len(container)):
                for value in values:
                    document = copy.deepcopy(SAMPLE)
                    containers_in(document)[number][key] = value
                    self.assertAgreed(document)
                    verdicts.add(not self.faults(document))
        self.assertEqual(verdicts, {True, False})

    @settings(max_examples=300, deadline=None)
    @given(mutated() | VALUES)
    def test_mutations(self, document: Any) -> None:
        """Documents with several things changed."""
        assume(not repeats_an_identifier(document))
        self.assertAgreed(document)
