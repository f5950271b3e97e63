"""What a shop's own systems keep with an order (a cart's id, a gift's message): JSON that nothing here reads, bounded and clean."""

import math
from typing import Any, NewType

import orjson

from shared.errors import Code, Refusal
from shared.texts import checked

MAX_BYTES = 4096
"""Of all of it, as JSON."""
MAX_DEPTH = 16
"""Of objects and lists in one another. orjson writes no more than 254, so an order deeper than that could never be read."""
_NUMBERS_END = 2**53
"""From here on not every reader of JSON reads a number the same (RFC 8259, 6): PostgreSQL makes an integer of 1e17."""


Metadata = NewType("Metadata", dict[str, Any])


def metadata_of(given: object) -> Metadata:
    """What was given. Raises Refusal BAD_INPUT for what is no JSON object, is too large, or would not come back as it is."""
    if not isinstance(given, dict):
        raise _bad("is a JSON object")
    _require_clean(given, MAX_DEPTH)
    if len(orjson.dumps(given)) > MAX_BYTES:
        raise _bad(f"has {MAX_BYTES} bytes of JSON at most")
    return Metadata(given)


def merged(kept: Metadata | None, given: Metadata | None) -> Metadata | None:
    """The names that are given are set, those that are null are dropped, all others stay: two systems never undo each other's.

    Raises Refusal BAD_INPUT when that is too large.
    """
    both = (kept or {}) | (given or {})
    return metadata_of({name: value for name, value in both.items() if value is not None}) or None


def _require_clean(value: object, depth: int) -> None:
    match value:
        case dict() | list() if not depth:
            raise _bad(f"is {MAX_DEPTH} levels deep at most")
        case dict():
            for name, inner in value.items():
                checked("metadata", name, MAX_BYTES)
                _require_clean(inner, depth - 1)
        case list():
            for inner in value:
                _require_clean(inner, depth - 1)
        case str():
            checked("metadata", value, MAX_BYTES, lines=True)
        case float() if not math.isfinite(value):
            raise _bad("has a number that is none")
        case int() | float() if abs(value) >= _NUMBERS_END:
            raise _bad("has a number beyond 2^53: write it as text")


def _bad(what: str) -> Refusal:
    return Refusal(Code.BAD_INPUT, f"metadata {what}", argument="metadata")
