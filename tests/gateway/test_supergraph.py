"""The graph in service follows the subgraphs, and never gets worse than it was."""

import asyncio
from pathlib import Path

import pytest

from gateway.federation import Code, Engine, Graph, SubgraphFailed
from gateway.metrics import Metrics
from gateway.supergraph import LastGood, Supergraph
from gateway.testing import LINK

ORDERS = LINK + 'type Query { order: Order } type Order @key(fields: "id") { id: ID! }'
PAYMENTS = LINK + 'type Order @key(fields: "id") { id: ID! paid: Boolean }'
BROKEN = LINK + 'type Order @key(fields: "code") { code: ID! paid: Boolean }'


async def nobody(subgraph: str, body: bytes, *, repeatable: bool, context: object) -> bytes:
    raise AssertionError(subgraph)


class Subgraphs:
    """What each subgraph answers when it is asked for its SDL; None: it is down."""

    def __init__(self, **sdls: str | None) -> None:
        self.sdls = sdls

    async def fetch(self, name: str) -> str:
        sdl = self.sdls[name]
        if sdl is None:
            raise SubgraphFailed(Code.SERVICE_UNAVAILABLE, f"{name} is unreachable")
        return sdl


def watching(subgraphs: Subgraphs, state: Path | None = None, interval: float = 5.0) -> Supergraph:
    def make(graph: Graph) -> Engine:
        return Engine(graph, nobody)

    return Supergraph(subgraphs.sdls, subgraphs.fetch, make, LastGood(state), Metrics(), interval)


async def poll(supergraph: Supergraph, *names: str) -> None:
    for name in names or ("orders", "payments"):
        await supergraph.poll(name)


def fields(supergraph: Supergraph) -> set[str]:
    assert supergraph.engine is not None
    declared = supergraph.engine.graph.resolvers
    return {name for owner, name in declared if owner == "Order"}


async def test_the_first_answers_make_the_first_graph() -> None:
    supergraph = watching(Subgraphs(orders=ORDERS, payments=PAYMENTS))
    await poll(supergraph, "orders")
    assert supergraph.engine is None
    assert supergraph.report()["missing"] == ["payments"]
    await poll(supergraph, "payments")
    assert fields(supergraph) == {"id", "paid"}
    assert supergraph.report()["ready"]


async def test_a_change_is_adopted_when_it_was_seen_twice_in_a_row() -> None:
    subgraphs = Subgraphs(orders=ORDERS, payments=PAYMENTS)
    supergraph = watching(subgraphs)
    await poll(supergraph)
    before = supergraph.engine
    changed = PAYMENTS.replace("paid", "settled")
    for sdl in (changed, PAYMENTS, changed):  # a rolling deploy: old and new answer in turn
        subgraphs.sdls["payments"] = sdl
        await poll(supergraph)
        assert supergraph.engine is before
    await poll(supergraph)
    assert fields(supergraph) == {"id", "settled"}


async def test_equal_answers_change_nothing() -> None:
    supergraph = watching(Subgraphs(orders=ORDERS, payments=PAYMENTS))
    await poll(supergraph)
    before = supergraph.engine
    await poll(supergraph)
    assert supergraph.engine is before


async def test_a_composition_that_breaks_is_refused_and_reported_until_it_is_mended() -> None:
    subgraphs = Subgraphs(orders=ORDERS, payments=PAYMENTS)
    supergraph = watching(subgraphs)
    await poll(supergraph)
    before = supergraph.engine
    subgraphs.sdls["payments"] = BROKEN
    await poll(supergraph)
    await poll(supergraph)
    report = supergraph.report()
    assert supergraph.engine is before
    assert report["ready"]
    assert report["degraded"]
    assert "UNREACHABLE_FIELD at Order.code" in report["composition"]["errors"][0]
    subgraphs.sdls["payments"] = PAYMENTS
    await poll(supergraph)
    await poll(supergraph)
    assert not supergraph.report()["degraded"]


async def test_a_subgraph_that_goes_away_keeps_its_part_of_the_graph() -> None:
    subgraphs = Subgraphs(orders=ORDERS, payments=PAYMENTS)
    supergraph = watching(subgraphs)
    await poll(supergraph)
    subgraphs.sdls["payments"] = None
    await poll(supergraph)
    assert fields(supergraph) == {"id", "paid"}
    assert supergraph.report()["subgraphs"]["payments"]["problem"] == "payments is unreachable"


async def test_the_last_good_sdl_on_disk_stands_in_for_a_subgraph_that_is_down_at_start(
    tmp_path: Path,
) -> None:
    await poll(watching(Subgraphs(orders=ORDERS, payments=PAYMENTS), tmp_path))
    restarted = watching(Subgraphs(orders=ORDERS, payments=None), tmp_path)
    restarted.restore()
    assert fields(restarted) == {"id", "paid"}
    await poll(restarted)
    assert {name: each["seen"] for name, each in restarted.report()["subgraphs"].items()} == {
        "orders": "live",
        "payments": "disk",
    }


async def test_a_broken_composition_is_never_kept_on_disk(tmp_path: Path) -> None:
    await poll(watching(Subgraphs(orders=ORDERS, payments=PAYMENTS), tmp_path))
    started = watching(Subgraphs(orders=ORDERS, payments=BROKEN), tmp_path)
    started.restore()
    await poll(started)
    assert LastGood(tmp_path).load() == {"orders": ORDERS, "payments": PAYMENTS}
    assert fields(started) == {"id", "paid"}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"orders": "type {", "payments": ""}'])
def test_a_spoilt_file_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "supergraph.json").write_text(content)
    supergraph = watching(Subgraphs(orders=None, payments=None), tmp_path)
    supergraph.restore()
    assert supergraph.engine is None


async def test_watching_polls_each_subgraph_on_its_own() -> None:
    subgraphs = Subgraphs(orders=ORDERS, payments=PAYMENTS)
    stuck = asyncio.Event()
    asked = asyncio.Event()
    counts = {"orders": 0}

    async def fetch(name: str) -> str:
        if name == "payments":
            await stuck.wait()
        counts["orders"] += name == "orders"
        if counts["orders"] == 3:
            asked.set()
        return await subgraphs.fetch(name)

    supergraph = Supergraph(
        subgraphs.sdls,
        fetch,
        lambda graph: Engine(graph, nobody),
        LastGood(None),
        Metrics(),
        poll_interval=0.001,
    )
    watch = asyncio.create_task(supergraph.watch())
    await asyncio.wait_for(asked.wait(), 10)
    assert supergraph.engine is None
    watch.cancel()
    await asyncio.wait([watch])
