"""Inputs by hypothesis: pieces of the target's grammar, kept inputs with damage, and plain bytes."""

from hypothesis import strategies as st

from tests.fuzz.targets import Target


def inputs(target: Target, kept: list[bytes]) -> st.SearchStrategy[bytes]:
    """Inputs for a target.

    Args:
        target: whose tokens are used.
        kept: inputs to be damaged.
    """
    pieces = st.sampled_from(target.tokens) | st.binary(max_size=3)
    strung = st.lists(pieces, max_size=30).map(b"".join)
    headed = st.tuples(st.binary(min_size=2, max_size=2), strung).map(b"".join)  # what chooses the segments
    return (headed | strung | st.builds(_damaged, st.sampled_from(kept), st.data(), pieces)).map(
        lambda data: data[: target.longest]
    )


def _damaged(data: bytes, draw: st.DataObject, piece: bytes) -> bytes:
    """An input with a part replaced."""
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, min(len(data), start + 4)))
    return data[:start] + piece + data[end:]
