"""What a shipping quote is for: two hashes that shipping and orders must get alike."""

import hashlib

import pytest

from shared.contracts.quotes import ADDRESS_FIELDS, destination_hash, items_hash

ADDRESS = {
    "name": "Ada",
    "street": "1 Main St",
    "street2": None,
    "city": "Austin",
    "state": "TX",
    "zip_code": "78701",
    "country": "US",
}


def test_an_address_is_the_same_in_any_case_with_spaces_around_and_for_anybody() -> None:
    same = ADDRESS | {"street": " 1 main st ", "street2": "", "country": "us", "name": "Bob", "phone": "+1"}
    assert destination_hash(same) == destination_hash(ADDRESS)
    without = {name: value for name, value in ADDRESS.items() if name != "street2"}
    assert destination_hash(without) == destination_hash(ADDRESS)


@pytest.mark.parametrize("field", ADDRESS_FIELDS)
def test_every_field_that_carriers_price_by_tells_addresses_apart(field: str) -> None:
    assert destination_hash(ADDRESS | {field: "other"}) != destination_hash(ADDRESS)


def test_a_value_cannot_pass_for_its_neighbour() -> None:
    moved = ADDRESS | {"street": "1 Main St\nAustin", "city": ""}
    assert destination_hash(moved) != destination_hash(ADDRESS)


def test_items_are_the_same_in_any_order_and_however_they_are_listed() -> None:
    assert items_hash([("b", 1), ("a", 2)]) == items_hash([("a", 1), ("b", 1), ("a", 1)])
    assert items_hash([("a", 1)]) != items_hash([("a", 2)])
    assert items_hash([("a:1", 1)]) != items_hash([("a", 1)])
    assert items_hash([("a", 1), ("b", 1)]) != items_hash([("a", 1)])


def test_the_hashes_are_what_was_signed_yesterday() -> None:
    """A token outlives a deploy: the canonical form is a promise."""
    shown = b'["1 MAIN ST", "", "AUSTIN", "TX", "78701", "US"]'
    assert destination_hash(ADDRESS) == hashlib.sha256(shown).hexdigest()
    assert items_hash([("b", 1), ("a", 2)]) == hashlib.sha256(b'[["a", 2], ["b", 1]]').hexdigest()
