"""The targets: what is read from outside, each as a function that raises when a promise is broken."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import answers, documents, urls

CORPUS = Path(__file__).parent / "corpus"
"""A folder for each target: seeds, and every input that once broke something."""


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    Attributes:
        check: takes any bytes; raises when a promise is broken.
        tokens: pieces of which inputs are made that get far.
        longest: bytes of an input, at most.
    """

    check: Callable[[bytes], None]
    tokens: tuple[bytes, ...]
    longest: int = 4096


TARGETS = {
    "canonical": Target(documents.check_canonical, documents.TOKENS),
    "plain": Target(documents.check_plain, documents.TOKENS),
    "payload": Target(documents.check_payload, documents.PAYLOAD_TOKENS),
    "url": Target(urls.check_url, urls.TOKENS, 512),
    "retry_after": Target(answers.check_retry_after, answers.DATE_TOKENS, 512),
    "response": Target(answers.check_response, answers.TOKENS, 2048),
    "bounds": Target(answers.check_bounds, answers.TOKENS, 2048),
    "connection": Target(answers.check_connection, answers.TOKENS, 2048),
}


def corpus(name: str) -> list[Path]:
    """The kept inputs of a target."""
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())
