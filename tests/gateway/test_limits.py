"""Documents over a limit are refused before they are validated, wherever the excess hides."""

import pytest
from graphql import parse

from gateway.federation import Code, RequestRefused
from gateway.limits import Limits

LIMITS = Limits(depth=4, aliases=3, root_fields=2)


@pytest.mark.parametrize(
    "query",
    [
        "{ a { b { c { d } } } }",
        "{ a: x { b: y { c: z } } }",
        "{ a b }",
        "query A { a b } query B { a b }",
        "{ ...F b } fragment F on Q { a }",
        "{ __schema { types { fields { type { ofType { ofType { name } } } } } } }",
        "{ ...Missing }",
    ],
)
def test_what_is_within_the_limits_passes(query: str) -> None:
    LIMITS.check(parse(query))


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("{ a { b { c { d { e } } } } }", "deeper than 4"),
        ("{ a { ... on A { b { ...F } } } } fragment F on B { c { d { e } } }", "deeper than 4"),
        ("{ ...F } fragment F on Q { a { ...F } }", "deeper than 4"),
        ("{ a: x { b: y { c: z { d: w } } } }", "4 aliases"),
        ("{ x { ...F } y { ...F } } fragment F on B { a: c b: d }", "4 aliases"),
        ("{ a b c }", "3 root fields"),
        ("{ ...F ... on Q { c } } fragment F on Q { a b }", "3 root fields"),
        ("{ a } query B { a b c }", "3 root fields"),
    ],
)
def test_what_is_over_a_limit_is_refused(query: str, why: str) -> None:
    with pytest.raises(RequestRefused, match=why) as refused:
        LIMITS.check(parse(query))
    assert refused.value.code is Code.QUERY_TOO_COMPLEX


@pytest.mark.parametrize(
    "query",
    ["{ ...F } fragment F on Q { ...F a }", "{ ...F } fragment F on Q { ...G } fragment G on Q { ...F }"],
)
def test_a_cycle_of_fragments_is_left_to_validation(query: str) -> None:
    LIMITS.check(parse(query))


def test_fragments_that_double_at_every_level_are_counted_without_walking_them() -> None:
    doubling = " ".join(f"fragment F{n} on Q {{ ...F{n + 1} ...F{n + 1} }}" for n in range(60))
    with pytest.raises(RequestRefused, match="aliases"):
        LIMITS.check(parse(f"{{ x {{ ...F0 }} }} {doubling} fragment F60 on Q {{ a: b }}"))
