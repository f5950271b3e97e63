"""Money in parts: whatever is ordered, the parts are the whole, and nothing is ever negative."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orders.checkout.discounts import DiscountCode, DiscountKind
from orders.checkout.pricing import Fee, Price, price, share
from orders.checkout.taxes import Destination, TaxTable
from orders.settings import Settings
from shared.contracts.money import to_major, to_minor
from shared.errors import Code, Refusal
from support.orders import NOW

HERE = Destination("US", "CA")
AMOUNTS = st.lists(st.integers(0, 10**11), min_size=1, max_size=12)
RATES = st.decimals(0, 1, places=6)


def priced(
    amounts: list[int], shipping: int, discount: int = 0, rate: str = "0", *, fee: Fee | None = None
) -> Price:
    table = TaxTable({"US": Decimal(rate)}, shipping_too=True)
    return price(amounts, shipping, discount=discount, destination=HERE, taxes=table, fee=fee or Fee())


@given(
    AMOUNTS,
    st.integers(0, 10**6),
    st.integers(0, 10**12),
    RATES,
    st.integers(0, 1),
    st.integers(0, 10_000),
    st.integers(0, 10**6),
)
def test_the_parts_are_the_whole_and_none_is_negative(
    amounts: list[int], shipping: int, discount: int, rate: Decimal, too: int, bps: int, fixed: int
) -> None:
    """`too`: whether shipping is taxed."""
    table, fee = TaxTable({"US": rate}, bool(too)), Fee(bps, fixed)
    costs = price(amounts, shipping, discount=discount, destination=HERE, taxes=table, fee=fee)
    assert costs.discount == min(discount, sum(amounts))
    assert all(0 <= off <= amount for off, amount in zip(costs.discounts, amounts, strict=True))
    left = [amount - off for amount, off in zip(amounts, costs.discounts, strict=True)]
    taxable = sum(left) + (shipping if too else 0)
    assert abs(costs.tax - taxable * rate) <= Decimal("0.5")
    assert min(*costs.taxes, costs.shipping_tax, costs.platform_fee) >= 0
    owner = sum(left) + shipping + costs.tax
    assert costs.total == owner + costs.platform_fee
    assert costs.platform_fee == (share(owner, bps) + fixed if owner else 0)


@given(AMOUNTS, RATES)
def test_a_line_is_taxed_by_its_share_to_within_one_minor_unit(amounts: list[int], rate: Decimal) -> None:
    taxes, of_shipping = TaxTable({"US": rate}).on(amounts, 500, HERE)
    whole, tax = sum(amounts), sum(taxes)
    assert of_shipping == 0
    assert all(
        abs(part * whole - tax * amount) < max(whole, 1) for part, amount in zip(taxes, amounts, strict=True)
    )


@given(AMOUNTS, st.integers(0, 10**6), st.sampled_from(["JPY", "USD", "KWD"]))
def test_every_amount_survives_the_graphs_floats(amounts: list[int], shipping: int, currency: str) -> None:
    costs = priced(amounts, shipping, discount=sum(amounts) // 3, rate="0.0725", fee=Fee(250, 30))
    for minor in (costs.subtotal, costs.discount, costs.tax, costs.platform_fee, *costs.taxes):
        if minor <= 10**12:
            assert to_minor(to_major(minor, currency), currency) == minor


def test_an_order_with_everything_on_it() -> None:
    costs = priced([1000, 333, 333], 599, discount=500, rate="0.0725", fee=Fee(250, 30))
    assert costs.discounts == (300, 100, 100)
    assert (costs.taxes, costs.shipping_tax) == ((51, 17, 17), 43)
    assert costs.tax == 128  # 7.25% of 1765 = 127.96
    assert costs.platform_fee == 77  # 2.5% of 1893 = 47.3, and 30
    assert costs.total == 1666 - 500 + 599 + 128 + 77


def test_half_a_minor_unit_of_tax_is_rounded_up_once_and_not_for_each_line() -> None:
    assert sum(priced([5, 5, 5], 0, rate="0.10").taxes) == 2  # 1.5; each line alone would be 0.5
    assert priced([100], 0, rate="0.005").tax == 1
    assert priced([99], 0, rate="0.005").tax == 0


def test_nothing_costs_nothing_whatever_the_fee() -> None:
    assert priced([1000], 0, discount=1000, rate="0.2", fee=Fee(1000, 30)).total == 0


@pytest.mark.parametrize(
    ("country", "state", "tax"),
    [("US", "CA", 7), ("US", "NY", 4), ("DE", "BE", 19), ("FR", "CA", 0), ("US", "TX", 4), ("US", "OR", 0)],
)
def test_the_most_specific_rate_wins_also_when_it_is_nothing(country: str, state: str, tax: int) -> None:
    rates = {"US": "0.04", "US-CA": "0.07", "US-OR": "0", "DE": "0.19"}
    table = TaxTable({region: Decimal(rate) for region, rate in rates.items()})
    assert table.on([100], 1000, Destination(country, state)) == ((tax,), 0)


@pytest.mark.parametrize(
    "state", ["CA", " ca ", "California", "CALIFORNIA", "C.A.", "US-CA", "\uff23\uff21", "C A"]
)
def test_a_destination_is_the_same_however_it_is_written(state: str) -> None:
    assert Destination.of({"country": "us", "state": state}) == HERE


def test_mail_for_the_armed_forces_has_states_of_its_own() -> None:
    table = TaxTable({"US": Decimal("0.01"), "US-CA": Decimal("0.07")})
    for state in ("AE", "ap", "AA"):
        assert table.on([100], 0, Destination.of({"country": "US", "state": state})) == ((1,), 0)


def test_a_name_of_two_words_and_one_with_an_accent_are_known() -> None:
    assert Destination.of({"country": "US", "state": "new york"}).state == "NY"
    assert {Destination.of({"country": "CA", "state": s}).state for s in ("Quebec", "Québec", "QC")} == {"QC"}


@pytest.mark.parametrize("state", ["XX", "CALIF", "94105", "!!", "Bavaria"])
def test_where_states_have_rates_of_their_own_no_tax_is_saved_by_a_slip_of_the_pen(state: str) -> None:
    table = TaxTable({"US-CA": Decimal("0.07"), "DE": Decimal("0.19")})
    with pytest.raises(Refusal) as refused:
        table.on([100], 0, Destination.of({"country": "US", "state": state}))
    assert refused.value.code is Code.BAD_INPUT
    assert table.on([100], 0, Destination.of({"country": "DE", "state": state})) == ((19,), 0)


@pytest.mark.parametrize("region", ["US-CAL", "XX", "DE-CA"])
def test_a_rate_of_a_place_that_there_is_not_is_refused_at_start(region: str) -> None:
    with pytest.raises(ValidationError, match=region):
        Settings(database_url="postgresql://x", kafka_url="x:9", tax_rates={region: Decimal("0.1")})


@given(st.integers(0, 10**11), st.integers(1, 10_000), st.sampled_from(DiscountKind))
def test_a_code_never_takes_off_more_than_there_is(subtotal: int, value: int, kind: DiscountKind) -> None:
    code = DiscountCode("X", 1, kind, value, "USD", 0, None, None, None, 0, True, NOW)
    assert 0 <= code.worth(subtotal, "USD", NOW) <= subtotal
