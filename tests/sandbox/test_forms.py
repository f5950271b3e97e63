"""Stripe's nested forms."""

from typing import Any

import pytest

from sandbox.stripe.forms import decode


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        ("", {}),
        ("amount=5&currency=usd", {"amount": "5", "currency": "usd"}),
        ("metadata[order_id]=a%26b&metadata[0]=x", {"metadata": {"order_id": "a&b", "0": "x"}}),
        ("expand[0]=a&expand[1]=b.c", {"expand": ["a", "b.c"]}),
        ("expand[]=a&expand[]=b", {"expand": ["a", "b"]}),
        ("items[0][price]=1&items[1][price]=2", {"items": [{"price": "1"}, {"price": "2"}]}),
        ("description=", {"description": ""}),
    ],
)
def test_brackets_nest(encoded: str, expected: dict[str, Any]) -> None:
    assert decode(encoded) == expected


@pytest.mark.parametrize("encoded", ["a=1&a[b]=2", "&".join(f"a{n}=1" for n in range(1_001))])
def test_contradictions_and_floods_are_refused(encoded: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - parse_qsl words one of them
        decode(encoded)
