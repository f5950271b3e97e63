"""What becomes of an order's shipments when the order changes: decided, and heard."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Code, Refusal
from shared.jobs import Jobs
from shipping import changes, domain, labels
from shipping.changes import Change
from shipping.domain import (
    Consignment,
    Decision,
    Hold,
    LabelStage,
    LineQuantity,
    Shipment,
    ShipmentStatus,
    StaffCase,
)
from shipping.provider import Shippo
from shipping.store import CONSIGNMENTS
from shipping.worker import jobs_for
from support.shipments import (
    NOW,
    Shop,
    a_consignment,
    a_shipment,
    address_changed,
    handed_over,
    held,
    items_cancelled,
    paid,
    placed,
    released,
)

S, L = ShipmentStatus, LabelStage
wants_label = partial(labels.ask, service=None)


def pieces(lines: dict[int, int]) -> list[LineQuantity]:
    return [LineQuantity(line, quantity) for line, quantity in lines.items()]


def parcel(lines: dict[int, int], **state: Any) -> Shipment:
    return a_shipment(lines=tuple(pieces(lines)), **state)


def total(shipments: Iterable[Shipment]) -> Counter[int]:
    lines = [line for shipment in shipments for line in shipment.lines]
    return sum((Counter({line.line: line.quantity}) for line in lines), Counter[int]())


def outcome(change: Change) -> list[tuple[ShipmentStatus, dict[int, int]]]:
    return [
        (decision.shipment.status, {line.line: line.quantity for line in decision.shipment.lines})
        for decision in change.decisions
    ]


def wanted(consignment: Consignment) -> dict[int, int]:
    return {line.line: line.quantity for line in consignment.lines}


def withdrawn(shipments: list[Shipment], lines: dict[int, int]) -> Change:
    return changes.withdraw(a_consignment(), shipments, pieces(lines), uuid4, NOW)


class TestPiecesLess:
    def test_come_off_the_newest_parcel_without_a_label(self) -> None:
        older, newer = parcel({1: 1}), parcel({1: 1, 2: 1})
        change = withdrawn([older, newer], {1: 1})
        assert wanted(change.consignment) == {1: 1, 2: 1}
        assert outcome(change) == [(S.VOIDED, {1: 1, 2: 1}), (S.PREPARED, {2: 1})]
        assert change.decisions[0].shipment.id == newer.id
        assert [fact.type for d in change.decisions for fact in d.facts] == [
            "shipment.voided",
            "shipment.prepared",
        ]

    def test_make_an_empty_parcel_void_and_none_instead(self) -> None:
        assert outcome(withdrawn([parcel({1: 2, 2: 1})], {1: 2, 2: 1})) == [(S.VOIDED, {1: 2, 2: 1})]

    def test_come_off_a_label_only_when_nothing_else_has_them(self) -> None:
        labelled = parcel({1: 1}, status=S.LABELLED, label=L.BOUGHT)
        prepared = parcel({1: 1, 2: 1})
        for order in ([labelled, prepared], [prepared, labelled]):
            assert outcome(withdrawn(order, {1: 1})) == [(S.VOIDED, {1: 1, 2: 1}), (S.PREPARED, {2: 1})]
        change = withdrawn([labelled, prepared], {1: 2})
        assert outcome(change)[-1] == (S.LABELLED, {1: 1})
        assert change.decisions[-1].shipment.label is L.REFUNDING

    def test_that_are_on_their_way_are_a_case_for_staff(self) -> None:
        gone = parcel({1: 2, 2: 1}, status=S.DISPATCHED, label=L.BOUGHT)
        [decision] = withdrawn([gone], {2: 1}).decisions
        assert decision == Decision(replace(gone, staff_case=StaffCase.CANCELLED_AFTER_DISPATCH))

    def test_leave_a_parcel_alone_that_has_none_of_them(self) -> None:
        assert outcome(withdrawn([parcel({1: 2}), parcel({2: 1})], {2: 1})) == [(S.VOIDED, {2: 1})]

    @given(
        st.lists(
            st.tuples(
                st.dictionaries(st.sampled_from([1, 2]), st.integers(1, 3), min_size=1),
                st.sampled_from([S.PREPARED, S.VOIDED, S.LABELLED, S.DISPATCHED]),
            ),
            max_size=4,
        ),
        st.dictionaries(st.sampled_from([1, 2]), st.integers(1, 4)),
    )
    def test_never_leave_more_to_send_than_is_wanted_nor_void_what_is(
        self, parcels: list[tuple[dict[int, int], ShipmentStatus]], less: dict[int, int]
    ) -> None:
        bought = {S.LABELLED, S.DISPATCHED}
        before = [
            parcel(lines, status=status, label=L.BOUGHT if status in bought else L.NONE)
            for lines, status in parcels
        ]
        live = total(s for s in before if s.status is not S.VOIDED)
        consignment = a_consignment(lines=tuple(domain.Line(n, live[n], 1) for n in (1, 2)))
        change = changes.withdraw(consignment, before, pieces(less), uuid4, NOW)
        now = {s.id: s for s in before} | {d.shipment.id: d.shipment for d in change.decisions}
        left = [s for s in now.values() if s.status is not S.VOIDED and s.label is not L.REFUNDING]
        for returned in (s for s in now.values() if s.label is L.REFUNDING):
            again = changes.prepare_anew(change.consignment, left, returned.lines, uuid4, NOW)
            left += [decision.shipment for decision in again]
        gone = total(s for s in left if s.status is S.DISPATCHED)
        for number, quantity in wanted(change.consignment).items():
            assert total(left)[number] == max(quantity, gone[number])


class TestByHand:
    def test_what_is_here_is_void_and_what_is_on_its_way_stays(self) -> None:
        prepared, failed = parcel({1: 1}), parcel({1: 1}, status=S.FAILED, label=L.FAILED)
        labelled = parcel({2: 1}, status=S.LABELLED, label=L.BOUGHT)
        gone = parcel({2: 1}, status=S.DISPATCHED, label=L.BOUGHT)
        change = changes.hand_over(
            a_consignment(), [prepared, failed, labelled, gone], pieces({1: 2, 2: 1}), NOW
        )
        assert [s for s, _ in outcome(change)] == [S.VOIDED, S.VOIDED, S.LABELLED]
        assert change.decisions[2].shipment.label is L.REFUNDING
        assert wanted(change.consignment) == {1: 0, 2: 0}

    def test_nothing_is_prepared_anew(self) -> None:
        labelled = parcel({1: 2, 2: 1}, status=S.LABELLED, label=L.BOUGHT)
        change = changes.hand_over(a_consignment(), [labelled], pieces({1: 2, 2: 1}), NOW)
        voided = replace(labelled, status=S.VOIDED)
        assert changes.prepare_anew(change.consignment, [voided], labelled.lines, uuid4, NOW) == ()


class TestElsewhere:
    ADDRESS = a_consignment().address | {"street": "2 Side St", "name": "", "phone": None}

    def redirected(self, shipment: Shipment) -> Change:
        consignment = a_consignment()
        consignment = replace(consignment, address=consignment.address | {"name": "Ada", "phone": "+1"})
        return changes.redirect(consignment, [shipment], self.ADDRESS, uuid4, NOW)

    def test_the_name_and_the_phone_number_stay_where_it_has_none(self) -> None:
        change = self.redirected(a_shipment())
        kept = change.consignment.address
        assert (kept["street"], kept["name"], kept["phone"]) == ("2 Side St", "Ada", "+1")
        assert change.decisions == ()

    def test_a_label_under_way_is_unwanted_and_the_parcel_prepared_anew(self) -> None:
        for label in (L.REQUESTED, L.RATED):
            lines = {1: 2, 2: 1}
            assert outcome(self.redirected(a_shipment(label=label))) == [
                (S.VOIDED, lines),
                (S.PREPARED, lines),
            ]

    def test_a_label_goes_back_and_a_parcel_on_its_way_is_a_case_for_staff(self) -> None:
        [back] = self.redirected(a_shipment(S.LABELLED, L.BOUGHT)).decisions
        assert back.shipment.label is L.REFUNDING
        [case] = self.redirected(a_shipment(S.DISPATCHED, L.BOUGHT)).decisions
        assert case.shipment.staff_case is StaffCase.ADDRESS_CHANGED_AFTER_DISPATCH


class TestHolds:
    HOLD = Hold(UUID(int=1), "checking")

    @given(st.lists(st.sampled_from(["hold 1", "release 1", "hold 2", "release 2"]), max_size=8))
    def test_a_hold_is_open_until_its_release_in_any_order_and_number(self, heard: list[str]) -> None:
        consignment = a_consignment()
        for said in heard:
            what, number = said.split()
            hold = Hold(UUID(int=int(number)), "checking")
            consignment = (
                changes.hold(consignment, hold) if what == "hold" else changes.release(consignment, hold.id)
            )
        expected = {int(n) for n in "12" if f"hold {n}" in heard and f"release {n}" not in heard}
        assert {hold.id.int for hold in consignment.holds} == expected
        assert len(consignment.holds) == len(expected)

    def test_a_held_order_is_refused_with_the_reason_and_a_repeat_is_answered(self) -> None:
        consignment, shipment = a_consignment(holds=(self.HOLD,)), a_shipment()
        with pytest.raises(Refusal) as refused:
            domain.unless_held(consignment, shipment, labels.ask(shipment, None))
        assert (refused.value.code, refused.value.details) == (Code.ON_HOLD, {"reason": "checking"})
        bought = a_shipment(S.LABELLED, L.BOUGHT)
        assert domain.unless_held(consignment, bought, labels.ask(bought, None)) == Decision(bought)

    def test_a_label_that_was_not_bought_yet_is_asked_for_again_later(self) -> None:
        for label in (L.REQUESTED, L.RATED):
            stopped = labels.held(a_shipment(label=label)).shipment
            assert (stopped.status, stopped.label, stopped.rate_id) == (S.PREPARED, L.NONE, None)
            assert labels.ask(stopped, None).shipment.label is L.REQUESTED
        bought = a_shipment(S.LABELLED, L.BOUGHT)
        assert labels.held(bought) == Decision(bought)


class TestTwoParcels:
    def split(self, shipment: Shipment, lines: dict[int, int]) -> list[tuple[ShipmentStatus, dict[int, int]]]:
        decisions = changes.split(a_consignment(), shipment, pieces(lines), uuid4, NOW)
        return outcome(Change(a_consignment(), decisions))

    def test_are_the_pieces_named_and_the_rest(self) -> None:
        assert self.split(a_shipment(), {1: 1}) == [
            (S.VOIDED, {1: 2, 2: 1}),
            (S.PREPARED, {1: 1}),
            (S.PREPARED, {1: 1, 2: 1}),
        ]

    @pytest.mark.parametrize("lines", [{}, {1: 2, 2: 1}, {1: 3}, {3: 1}])
    def test_are_not_made_of_all_of_it_nor_of_nothing_nor_of_what_is_not_there(
        self, lines: dict[int, int]
    ) -> None:
        with pytest.raises(Refusal) as refused:
            self.split(a_shipment(), lines)
        assert refused.value.code is Code.BAD_INPUT

    @pytest.mark.parametrize(
        ("status", "label"),
        [
            (S.PREPARED, L.REQUESTED),
            (S.LABELLED, L.BOUGHT),
            (S.DISPATCHED, L.BOUGHT),
            (S.VOIDED, L.NONE),
        ],
    )
    def test_are_not_made_of_one_that_has_a_label(self, status: ShipmentStatus, label: LabelStage) -> None:
        with pytest.raises(Refusal) as refused:
            self.split(a_shipment(status, label), {1: 1})
        assert refused.value.code is Code.INVALID_TRANSITION


async def consignment_of(shop: Shop, order_id: UUID) -> Consignment:
    async with shop.service.db.connection() as conn:
        [row] = await conn.fetch("SELECT * FROM consignments WHERE order_id = $1", order_id)
    return CONSIGNMENTS.entity_of(dict(row))


async def test_pieces_less_are_heard_and_the_rest_goes_out(shop: Shop) -> None:
    order_id = await shop.paid_order()
    await shop.hear(items_cancelled(order_id, {1: 1}))
    first, second = await shop.shipments(order_id)
    assert (first.status, second.status) == (S.VOIDED, S.PREPARED)
    assert second.lines == (LineQuantity(1, 1), LineQuantity(2, 1))
    assert await shop.types(order_id) == ["prepared", "voided", "prepared"]
    bought = await shop.buy(second.id)
    assert bought["data"]["it"]["status"] == "LABELLED"
    await shop.hear(items_cancelled(order_id, {2: 1}))
    await shop.settle()
    *_, third = await shop.shipments(order_id)
    assert (third.status, third.lines) == (S.PREPARED, (LineQuantity(1, 1),))
    assert shop.live_labels(order_id) == []
    assert (await shop.types(order_id))[3:] == ["labelled", "voided", "prepared"]


async def test_an_order_handed_over_by_hand_leaves_nothing_here(shop: Shop) -> None:
    prepared, labelled = await shop.paid_order(), await shop.labelled_order()
    for order_id in (prepared, labelled):
        await shop.hear(handed_over(order_id, {1: 2, 2: 1}))
    await shop.settle()
    for order_id in (prepared, labelled):
        assert (await shop.shipment(order_id)).status is S.VOIDED
        assert shop.live_labels(order_id) == []
        assert (await shop.types(order_id))[-1] == "voided"


async def test_a_label_is_made_out_to_the_new_address(shop: Shop) -> None:
    order_id = await shop.paid_order()
    await shop.hear(address_changed(order_id, street="2 Side St"))
    await shop.buy((await shop.shipment(order_id)).id)
    [created] = shop.box.record.effects(kind="shippo.shipment.created", order_id=str(order_id))
    address = created.payload["address_to"]
    assert (address["street1"], address["name"], address["phone"]) == (
        "2 Side St",
        "Ada Lovelace",
        "+13125550100",
    )


async def test_a_held_order_gets_no_label_and_leaves_with_nobody_until_its_last_release(shop: Shop) -> None:
    order_id, first, second = await shop.paid_order(), uuid4(), uuid4()
    shipment_id = (await shop.shipment(order_id)).id
    await shop.hear(released(order_id, uuid4()), held(order_id, first), held(order_id, second, "pre-order"))
    await shop.hear(released(order_id, first))
    tries = (shop.buy(shipment_id), shop.dispatch(shipment_id, carrier="UPS", number="1Z"))
    for answer in await asyncio.gather(*tries):
        [error] = answer["errors"]
        assert error["extensions"] == {"code": "ON_HOLD", "reason": "pre-order"}
    assert await shop.types(order_id) == ["prepared"]
    await shop.hear(released(order_id, second))
    assert (await shop.buy(shipment_id))["data"]["it"]["status"] == "LABELLED"


class Slow(Shippo):
    """A Shippo that answers an asked rate when `go` is set."""

    asked: asyncio.Event
    go: asyncio.Event

    async def rate(self, **wanted: Any) -> Any:
        found = await super().rate(**wanted)
        self.asked.set()
        await self.go.wait()
        return found


@pytest.fixture
async def slow(dock: Shop) -> AsyncIterator[Slow]:
    provider = Slow(dock.settings)
    provider.asked, provider.go = asyncio.Event(), asyncio.Event()
    yield provider
    await provider.close()


async def test_a_hold_that_comes_while_a_rate_is_asked_stops_the_purchase(dock: Shop, slow: Slow) -> None:
    order_id, hold_id = await dock.paid_order(), uuid4()
    jobs: Jobs = jobs_for(slow, lambda: dock.service.db, dock.settings)
    await dock.wish(order_id, wants_label)
    async with dock.working(jobs):
        await slow.asked.wait()
        await dock.hear(held(order_id, hold_id))
        slow.go.set()
        await dock.settle()
        assert (await dock.shipment(order_id)).label is L.NONE
        assert dock.effects("shippo.label.purchased", order_id) == []
        await dock.hear(released(order_id, hold_id))
        await dock.wish(order_id, wants_label)
        await dock.settle()
    assert (await dock.shipment(order_id)).status is S.LABELLED


async def test_a_hold_that_comes_before_the_rate_is_asked_asks_for_nothing(dock: Shop) -> None:
    order_id = await dock.paid_order()
    await dock.wish(order_id, wants_label)
    await dock.hear(held(order_id, uuid4()))
    async with dock.working():
        await dock.settle()
    assert (await dock.shipment(order_id)).label is L.NONE
    assert dock.effects("shippo.shipment.created", order_id) == []


async def test_facts_about_holds_are_kept_across_the_database(dock: Shop) -> None:
    order_id, open_, over = uuid4(), uuid4(), uuid4()
    await dock.hear(placed(order_id), paid(order_id), held(order_id, open_), released(order_id, over))
    await dock.hear(held(order_id, over))
    kept = await consignment_of(dock, order_id)
    assert kept.holds == (Hold(open_, "checking the address"),)
    assert kept.released == (over,)
