"""Money is exact: what the graph's floats say, split or summed, to the cent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.money import allocate, exponent, to_major, to_minor


@given(st.integers(0, 10**12), st.sampled_from(["USD", "JPY", "KWD"]))
def test_minor_units_survive_the_graphs_float(minor: int, currency: str) -> None:
    assert to_minor(to_major(minor, currency), currency) == minor


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        (0.001, "USD"),
        (10000.004, "USD"),
        (99999999.999, "USD"),
        (1.5, "JPY"),
        (1.0005, "KWD"),
    ],
)
def test_more_decimals_than_the_currency_has_are_refused(amount: float, currency: str) -> None:
    with pytest.raises(ValueError, match="more decimals"):
        to_minor(amount, currency)


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 1e11])
@pytest.mark.parametrize("currency", ["USD", "KWD"])
def test_what_is_beyond_any_amount_is_refused_in_plain_words(amount: float, currency: str) -> None:
    with pytest.raises(ValueError, match="no amount of money"):
        to_minor(amount, currency)


def test_currencies_have_their_decimals() -> None:
    assert [exponent(currency) for currency in ("USD", "EUR", "JPY", "KWD")] == [2, 2, 0, 3]


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=50))
def test_an_allocation_sums_to_the_whole_and_is_within_a_cent_of_its_share(
    total: int, weights: list[int]
) -> None:
    parts = allocate(total, weights)
    assert sum(parts) == total
    if sum(weights):
        assert all(abs(part - total * w / sum(weights)) < 1 for part, w in zip(parts, weights, strict=True))
