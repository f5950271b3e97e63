"""The storefront graph as clients see it, committed: a change of it is a change of the promise, seen in the diff."""

from pathlib import Path

from graphql import build_schema

from gateway.settings import Settings
from ordermesh.schema import storefront_sdl, subgraphs

SNAPSHOT = Path(__file__).with_name("storefront.graphql")


def test_the_composed_graph_is_the_committed_one() -> None:
    """Refresh it with: ordermesh schema storefront > tests/contracts/storefront.graphql"""
    assert storefront_sdl().strip() == SNAPSHOT.read_text().strip()


def test_a_field_of_another_service_on_the_order_may_be_null() -> None:
    """Or one service that is down would take the whole order down with it."""
    sdl = storefront_sdl()
    for field in ("payment: Payment", "shipments: [Shipment!]", "notifications: [Notification!]"):
        assert f"  {field}\n" in sdl


def test_the_queries_that_the_gateway_counts_as_costly_are_in_it() -> None:
    """A name that is not would leave its query without a limit."""
    queries = build_schema(storefront_sdl()).query_type
    assert queries is not None
    assert set(Settings.model_fields["costly_queries"].default) <= set(queries.fields)


def test_every_service_hangs_its_part_off_the_order() -> None:
    assert [name for name, sdl in subgraphs().items() if 'type Order @key(fields: "id")' not in sdl] == []
