"""Stripe's request encoding: URL-encoded forms whose keys nest by brackets, `metadata[order_id]=7`, `expand[0]=charge`."""

from typing import Any
from urllib.parse import parse_qsl

MAX_FIELDS = 1_000


def decode(encoded: str) -> dict[str, Any]:
    """Nested dicts and lists of strings. Raises ValueError for contradicting keys or more than 1,000 fields."""
    params: dict[str, Any] = {}
    for key, value in parse_qsl(encoded, keep_blank_values=True, max_num_fields=MAX_FIELDS):
        *outer, last = key.replace("]", "").split("[")
        node = params
        for name in outer:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise ValueError(f"{key} contradicts an earlier field")  # noqa: TRY004 - the data's fault, not a type's
        node[last or str(len(node))] = value
    return {name: value if name == "metadata" else _lists(value) for name, value in params.items()}


def _lists(value: Any) -> Any:
    """Indices are dict keys until all fields are read; metadata's keys never are indices."""
    if not isinstance(value, dict):
        return value
    if value and all(name.isdecimal() for name in value):
        return [_lists(value[name]) for name in sorted(value, key=int)]
    return {name: _lists(nested) for name, nested in value.items()}
