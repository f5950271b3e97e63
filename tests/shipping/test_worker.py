"""Labels from wish to paper and back, with crashes and cancellations in between: one live label, whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

import pytest

import sandbox
from shared.jobs import Job, Jobs
from shared.tx import Cause, Tx
from shipping import domain, labels
from shipping.domain import LabelStage, ShipmentStatus, StaffCase, Work
from shipping.labels import Label, Refused
from shipping.provider import Shippo
from shipping.store import SHIPMENTS
from shipping.worker import LOOKS, Calls, Unseen, jobs_for, metadata_of
from support.shipments import NOW, Shop, a_shipment, cancelled, paid, placed, record

BUY = "shippo.transactions.create"
wants_label = partial(labels.ask, service=None)


class Paused(Shippo):
    """A Shippo that is reached, or not yet, when `paused` is set; it answers once `go` is set. Left there, it is a crash."""

    paused: asyncio.Event
    go: asyncio.Event
    bought = True

    async def buy(self, rate_id: str, metadata: str) -> Label | Refused:
        done = await super().buy(rate_id, metadata) if self.bought else None
        self.paused.set()
        await self.go.wait()
        return done or await super().buy(rate_id, metadata)


@pytest.fixture
async def paused(dock: Shop) -> AsyncIterator[Paused]:
    provider = Paused(dock.settings)
    provider.paused, provider.go = asyncio.Event(), asyncio.Event()
    yield provider
    await provider.close()


def jobs_with(provider: Shippo, shop: Shop) -> Jobs:
    return jobs_for(provider, lambda: shop.service.db, shop.settings)


def transaction_calls(shop: Shop, since: int) -> list[str]:
    requests = shop.box.record.requests(since=since)
    return [request.method for request in requests if request.path.endswith("/transactions")]


def last_request(box: sandbox.Box) -> int:
    seq = 0
    while page := box.record.requests(since=seq):
        seq = page[-1].seq
    return seq


async def test_facts_heard_twice_prepare_one_shipment(dock: Shop) -> None:
    order_id = uuid4()
    same = [record(placed(order_id)), record(paid(order_id))]
    await dock.hear(*same)
    await dock.hear(*same)
    await dock.hear(placed(order_id), paid(order_id))
    shipment = await dock.shipment(order_id)
    assert [(line.line, line.quantity) for line in shipment.lines] == [(1, 2), (2, 1)]
    assert await dock.types(order_id) == ["prepared"]


async def test_the_label_names_the_contact_where_the_address_has_no_name(dock: Shop) -> None:
    order_id = await dock.paid_order()
    async with dock.working():
        await dock.wish(order_id, wants_label)
        await dock.settle()
    [created] = dock.box.record.effects(kind="shippo.shipment.created", order_id=str(order_id))
    address, [parcel] = created.payload["address_to"], created.payload["parcels"]
    assert (address["name"], address["phone"], address["zip"]) == ("Ada Lovelace", "+13125550100", "60601")
    assert (parcel["weight"], parcel["mass_unit"]) == ("900", "g")


async def test_a_parcel_goes_from_prepared_to_delivered_and_each_step_is_said_once(shop: Shop) -> None:
    order_id = await shop.labelled_order()
    label = (await shop.shipment(order_id)).transaction_id or ""
    for status in ("PRE_TRANSIT", "TRANSIT", "TRANSIT", "DELIVERED"):
        await shop.scan(status, transaction=label)
        await shop.settle()
    shipment = await shop.shipment(order_id)
    assert shipment.status is ShipmentStatus.DELIVERED
    assert await shop.types(order_id) == ["prepared", "labelled", "dispatched", "delivered"]
    statuses = [checkpoint.status for checkpoint in shipment.checkpoints]
    assert statuses == ["PRE_TRANSIT", "TRANSIT", "TRANSIT", "DELIVERED"]
    assert shop.live_labels(order_id) == [label]


@pytest.mark.parametrize("bought", [True, False], ids=["after the purchase", "before the purchase"])
async def test_a_process_that_dies_around_the_purchase_leaves_one_live_label(
    dock: Shop, paused: Paused, *, bought: bool
) -> None:
    order_id = await dock.paid_order()
    paused.bought = bought
    await dock.wish(order_id, wants_label)
    async with dock.working(jobs_with(paused, dock)):
        await paused.paused.wait()
    assert (await dock.shipment(order_id)).label is LabelStage.RATED
    assert len(dock.live_labels(order_id)) == int(bought)
    await dock.leases_run_out()
    async with dock.working():
        await dock.settle()
    shipment = await dock.shipment(order_id)
    assert shipment.status is ShipmentStatus.LABELLED
    assert dock.effects("shippo.label.purchased", order_id) == [shipment.transaction_id]
    assert await dock.types(order_id) == ["prepared", "labelled"]


async def test_a_process_that_dies_between_rate_and_purchase_buys_that_rate(dock: Shop) -> None:
    order_id = await dock.paid_order()
    await rate_only(dock, order_id)
    rated = await dock.shipment(order_id)
    async with dock.working():
        await dock.settle()
    shipment = await dock.shipment(order_id)
    assert (shipment.status, shipment.rate_id) == (ShipmentStatus.LABELLED, rated.rate_id)
    assert dock.live_labels(order_id) == [shipment.transaction_id]


async def test_a_lost_answer_leaves_one_live_label(dock: Shop) -> None:
    order_id = await dock.paid_order()
    dock.faults.lost[BUY] = 1
    since = last_request(dock.box)
    async with dock.working():
        await dock.wish(order_id, wants_label)
        await dock.settle()
    shipment = await dock.shipment(order_id)
    assert dock.effects("shippo.label.purchased", order_id) == [shipment.transaction_id]
    assert transaction_calls(dock, since) == ["POST", "GET"]
    assert await dock.types(order_id) == ["prepared", "labelled"]


async def test_a_purchase_that_never_arrived_is_repeated_only_after_two_empty_looks(dock: Shop) -> None:
    order_id = await dock.paid_order()
    dock.faults.refused[BUY] = 1
    since = last_request(dock.box)
    async with dock.working():
        await dock.wish(order_id, wants_label)
        await dock.settle()
    assert transaction_calls(dock, since) == ["POST", *["GET"] * LOOKS, "POST"]
    assert len(dock.live_labels(order_id)) == 1
    assert await dock.types(order_id) == ["prepared", "labelled"]


async def test_the_second_look_comes_some_time_after_the_first(paused: Paused, dock: Shop) -> None:
    settings = dock.settings.model_copy(update={"label_second_look": 120.0})
    shipment = a_shipment(ShipmentStatus.PREPARED, LabelStage.RATED)
    tx = Tx("shipping", NOW, Cause("", ""))
    tx.put(SHIPMENTS, shipment)
    payload = {"shipment_id": str(shipment.id), "rate_id": "r1"}
    job = Job(uuid4(), Work.BUY, str(shipment.order_id), payload, 2, "", NOW)
    await Calls(paused, lambda: dock.service.db, settings).record_bought(job, Unseen(1), tx)
    [later] = tx.requested
    assert (later.due_at - NOW).total_seconds() == 120
    assert later.payload == payload | {"looks": 1}


async def test_a_label_heard_of_by_webhook_and_by_the_worker_is_one_label(shop: Shop) -> None:
    order_id = await shop.paid_order()
    shop.faults.lost[BUY] = 1
    await shop.buy((await shop.shipment(order_id)).id)
    await shop.settle()
    shipment = await shop.shipment(order_id)
    assert shop.effects("shippo.label.purchased", order_id) == [shipment.transaction_id]
    assert await shop.types(order_id) == ["prepared", "labelled"]


async def test_a_label_bought_once_too_often_goes_back(shop: Shop) -> None:
    order_id = await shop.labelled_order()
    shipment = await shop.shipment(order_id)
    provider = Shippo(shop.settings)
    extra = await provider.buy(shipment.rate_id or "", metadata_of(shipment))
    await shop.settle()
    await provider.close()
    assert isinstance(extra, Label)
    assert shop.effects("shippo.label.refunded", order_id) == [extra.transaction_id]
    assert await shop.shipment(order_id) == shipment


async def test_an_old_rate_is_not_bought_but_asked_for_anew(dock: Shop) -> None:
    order_id = await dock.paid_order()
    old = datetime.now(UTC) - labels.RATES_LIVE
    rate = labels.Rate("an old rate", "USPS", "Ground", 1, "USD")
    await dock.wish(order_id, wants_label)
    async with dock.service.db.connection() as conn:
        await conn.execute("DELETE FROM jobs WHERE key = $1", str(order_id))
    await dock.wish(order_id, lambda shipment: labels.rated(shipment, rate, old))
    async with dock.working():
        await dock.settle()
    shipment = await dock.shipment(order_id)
    assert (shipment.status, shipment.cost) == (ShipmentStatus.LABELLED, 614)
    assert shipment.rate_id != "an old rate"


async def test_no_rate_fails_the_shipment_and_staff_may_ask_again(dock: Shop) -> None:
    order_id = await dock.paid_order(
        shipping_address=placed(uuid4()).shipping_address.model_copy(update={"zip_code": "00000"})
    )
    async with dock.working():
        for times in (1, 2):
            await dock.wish(order_id, wants_label)
            await dock.settle()
            shipment = await dock.shipment(order_id)
            assert (shipment.status, shipment.label) == (ShipmentStatus.FAILED, LabelStage.FAILED)
            assert shipment.failure_reason == "No carrier offers a rate (UPS, USPS)"
            assert await dock.types(order_id) == ["prepared", *["failed"] * times]
    await dock.wish(order_id, lambda shipment: domain.dispatch(shipment, "UPS", "1Z7", NOW))
    assert (await dock.shipment(order_id)).status is ShipmentStatus.DISPATCHED


async def test_an_order_cancelled_before_its_label_is_void(dock: Shop) -> None:
    order_id = await dock.paid_order()
    await dock.hear(cancelled(order_id), cancelled(order_id), paid(order_id))
    assert (await dock.shipment(order_id)).status is ShipmentStatus.VOIDED
    assert await dock.types(order_id) == ["prepared", "voided"]


async def test_an_order_cancelled_before_it_was_paid_prepares_nothing(dock: Shop) -> None:
    order_id = uuid4()
    await dock.hear(placed(order_id), cancelled(order_id), paid(order_id))
    assert await dock.shipments(order_id) == []


async def test_a_wish_for_a_label_of_a_cancelled_order_asks_shippo_for_nothing(dock: Shop) -> None:
    order_id = await dock.paid_order()
    await dock.wish(order_id, wants_label)
    await dock.hear(cancelled(order_id))
    async with dock.working():
        await dock.settle()
    shipment = await dock.shipment(order_id)
    assert (shipment.status, shipment.label) == (ShipmentStatus.VOIDED, LabelStage.NONE)
    assert dock.effects("shippo.shipment.created", order_id) == []


async def test_an_order_cancelled_between_rate_and_purchase_buys_nothing(dock: Shop) -> None:
    order_id = await dock.paid_order()
    await rate_only(dock, order_id)
    await dock.hear(cancelled(order_id))
    async with dock.working():
        await dock.settle()
    assert dock.effects("shippo.label.purchased", order_id) == []
    shipment = await dock.shipment(order_id)
    assert (shipment.status, shipment.label) == (ShipmentStatus.VOIDED, LabelStage.NONE)


@pytest.mark.parametrize("bought", [True, False])
async def test_a_label_bought_for_an_order_cancelled_meanwhile_goes_back_at_once(
    dock: Shop, paused: Paused, *, bought: bool
) -> None:
    order_id = await dock.paid_order()
    paused.bought = bought
    await dock.wish(order_id, wants_label)
    async with dock.working(jobs_with(paused, dock)):
        await paused.paused.wait()
        await dock.hear(cancelled(order_id))
        paused.go.set()
        await dock.settle()
    shipment = await dock.shipment(order_id)
    assert (shipment.status, shipment.label) == (ShipmentStatus.VOIDED, LabelStage.REFUNDED)
    assert dock.effects("shippo.label.refunded", order_id) == [shipment.transaction_id]
    assert await dock.types(order_id) == ["prepared", "voided"]


async def test_a_label_bought_by_a_process_that_died_goes_back_when_the_order_was_cancelled(
    dock: Shop, paused: Paused
) -> None:
    order_id = await dock.paid_order()
    await dock.wish(order_id, wants_label)
    async with dock.working(jobs_with(paused, dock)):
        await paused.paused.wait()
    await dock.hear(cancelled(order_id))
    await dock.leases_run_out()
    async with dock.working():
        await dock.settle()
    assert dock.live_labels(order_id) == []
    assert (await dock.shipment(order_id)).label is LabelStage.REFUNDED
    assert await dock.types(order_id) == ["prepared", "voided"]


async def test_an_order_cancelled_with_its_label_bought_gets_its_cost_back(shop: Shop) -> None:
    order_id = await shop.labelled_order()
    await shop.hear(cancelled(order_id))
    await shop.settle()
    shipment = await shop.shipment(order_id)
    assert (shipment.status, shipment.label) == (ShipmentStatus.VOIDED, LabelStage.REFUNDED)
    assert shop.live_labels(order_id) == []
    voided = (await shop.said(order_id))[-1].model_dump()
    assert voided["refunded_cost"] == shipment.cost == 614
    assert await shop.types(order_id) == ["prepared", "labelled", "voided"]


async def test_an_order_cancelled_under_way_is_a_staff_case(shop: Shop) -> None:
    order_id = await shop.labelled_order()
    await shop.scan("TRANSIT", transaction=(await shop.shipment(order_id)).transaction_id or "")
    await shop.settle()
    await shop.hear(cancelled(order_id))
    await shop.settle()
    shipment = await shop.shipment(order_id)
    assert (shipment.status, shipment.staff_case) == (
        ShipmentStatus.DISPATCHED,
        StaffCase.CANCELLED_AFTER_DISPATCH,
    )
    assert len(shop.live_labels(order_id)) == 1


async def test_a_label_that_shippo_does_not_take_back_is_a_staff_case(dock: Shop) -> None:
    """The carrier has scanned it, and we have not heard of it yet."""
    order_id = await dock.paid_order()
    async with dock.working():
        await dock.wish(order_id, wants_label)
        await dock.settle()
        label = (await dock.shipment(order_id)).transaction_id or ""
        await dock.scan("TRANSIT", transaction=label)
        await dock.hear(cancelled(order_id))
        await dock.settle()
    shipment = await dock.shipment(order_id)
    assert (shipment.status, shipment.label) == (ShipmentStatus.LABELLED, LabelStage.BOUGHT)
    assert shipment.staff_case is StaffCase.LABEL_REFUND_REFUSED
    assert await dock.types(order_id) == ["prepared", "labelled"]


async def test_a_parcel_whose_label_was_bought_elsewhere_is_followed_by_its_number(shop: Shop) -> None:
    order_id, number = await shop.paid_order(), f"1Z{uuid4().hex.upper()}"
    answer = await shop.dispatch((await shop.shipment(order_id)).id, carrier="UPS", number=number)
    assert answer["data"]["it"]["status"] == "DISPATCHED"
    await shop.settle()
    await shop.scan("DELIVERED", tracking_number=number)
    await shop.settle()
    assert await shop.types(order_id) == ["prepared", "dispatched", "delivered"]


async def rate_only(shop: Shop, order_id: UUID) -> None:
    """The wish for a label, as far as its rate: the first of the two steps."""

    async def rated() -> bool:
        return (await shop.shipment(order_id)).label is LabelStage.RATED

    only_rates = Jobs()
    only_rates.calls[Work.RATE] = shop.service.jobs.calls[Work.RATE]
    await shop.wish(order_id, wants_label)
    async with shop.working(only_rates):
        await shop.until(rated)
