"""A fifth of all calls to Shippo and of its webhooks goes wrong, by seed: every order has one live label, forgeries move nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shipments import Shop
from tests.shipping.test_worker import wants_label

from shipping.domain import ShipmentStatus

CALLS = ["reset", "unavailable", "rate_limited", "error", "error_after_effect", "lost_answer", "slow"]
HOOKS = ["duplicated", "delayed", "reordered", "dropped", "lost", "forged"]


@pytest.fixture(autouse=True)
def no_faults_after(dock: Shop) -> Iterator[None]:
    yield
    dock.box.faults.clear()


async def test_every_order_has_one_live_label(dock: Shop) -> None:
    start = [fault["seq"] for fault in dock.box.faults.injected(limit=2**31)][-1:] or [0]
    dock.box.faults.add("shippo.*", CALLS, probability=0.2, seed=5, seconds=0.05)
    dock.box.faults.add("webhooks.shippo.*", HOOKS, probability=0.2, seed=5, seconds=0.2)
    orders = [await dock.paid_order() for _ in range(10)]
    async with dock.working():
        for order_id in orders:
            await dock.wish(order_id, wants_label)
        await dock.settle()
    for order_id in orders:
        shipment = await dock.shipment(order_id)
        assert shipment.status is ShipmentStatus.LABELLED
        assert dock.live_labels(order_id) == [shipment.transaction_id]
        assert await dock.types(order_id) == ["prepared", "labelled"]
    met = {fault["kind"] for fault in dock.box.faults.injected(since=start[0], limit=2**31)}
    assert len(met & {*CALLS, *HOOKS}) >= 4
    assert {kind for kind in met if kind.startswith("forged.")} <= {"forged.400"}
