"""An order's whole life, in any order that chance can think of: commands, facts, duplicates, overtakings and crashes.

What the order does is decided by the real code; what must hold is said here, beside a payments and a shipping that know the
truth (`support.lifecycle`). `make explore` runs 2,000 lives; the suite runs fewer, the same ones every time.
"""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orders.domain import Hold, Order, OrderType, PaymentStatus, RefundStatus, Stage, WayOut
from orders.handlers import handlers
from orders.life import commands, edits, items
from orders.life.explanation import explain
from orders.status import TABLE, TRIGGERS, Move, OrderStatus
from shared.contracts import orders as said
from shared.contracts.envelope import Fact
from shared.contracts.money import to_major
from shared.contracts.orders import OFFLINE
from shared.contracts.payments import PaymentSettled
from shared.errors import Code, Refusal
from support.lifecycle import START, STEPS, Desk, Payments, Shipping, Speaker
from support.orders import ACT, ADDRESS, SHOPPER, STAFF, TERMS, a_line

PAID_FOR = {OrderStatus.PROCESSING, OrderStatus.SHIPPED, OrderStatus.DELIVERED, OrderStatus.RETURNED}
TRIGGER_CALLED = {str(trigger): trigger for trigger in TRIGGERS}
ANY = st.integers(0, 7)
STATES = ("CA", "CA", "OR", "NY")
"""Where it goes, one without tax, and one with more."""
STARTS = ("placed", "paid", "offline", "packed", "out", "refunded")
PEOPLE = (
    *("staff_refund", "staff_refund_items", "staff_refund_again") * 2,
    *("staff_mark_delivered", "somebody_cancels", "the_deadline_passes", "staff_set_the_status"),
    *("somebody_cancels_items", "somebody_edits", "staff_hold", "staff_release", "staff_track"),
)
MISCHIEF = (
    *("less_is_captured_than_it_costs", "it_is_paid_twice"),
    *("orders_will_crash_before_its_next_commit", "a_fact_is_heard_again") * 2,
    *("a_parcels_fact_overtakes", "the_intent_is_closed_at_the_provider", "goods_leave_unpaid"),
)


class Life(RuleBasedStateMachine):
    """One order. Rules are what anybody may do at any time; invariants are checked after each."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.payments, self.shipping = Payments(self.desk), Shipping(self.desk)
        self.delivered: list[Fact] = []
        self.was_underpaid = False
        self.is_orderly = True
        """Shipments' facts came once and in order, and nobody vouched for a delivery: the lines say what is true."""

    @initialize(
        quantities=st.lists(st.integers(1, 3), min_size=1, max_size=3),
        start=st.sampled_from(STARTS),
        ahead=st.sampled_from([None, None, timedelta(days=30)]),
    )
    def begin(self, quantities: list[int], start: str, ahead: timedelta | None) -> None:
        """An order that has come this far without trouble: what may happen late must not wait for luck."""
        lines = tuple(a_line(n, quantity) for n, quantity in enumerate(quantities, 1))
        self.desk.place(lines, available=None if ahead is None else START + ahead)
        self._settle()
        if start == "offline":
            self.staff_set_the_status(list(OrderStatus).index(OrderStatus.PROCESSING))
        elif start != "placed":
            self.payments.capture()
        self._settle()
        for hold in self.desk.order.open_holds if start in {"packed", "out", "refunded"} else ():
            assert ahead
            assert self.desk.order.order_type is OrderType.PRE_ORDER
            self._release(hold)
        while start in {"packed", "out", "refunded"} and self.shipping.unpacked:
            self.shipping.pack(1)
        for parcel in self.shipping.parcels if start in {"out", "refunded"} else ():
            self.shipping.move(parcel, Stage.DISPATCHED)
        self._settle()
        if start == "refunded":
            self.staff_refund(2)
            self._settle()

    # -- what payments and the shopper do

    @rule(which=ANY, of=ANY)
    def payments_act(self, which: int, of: int) -> None:
        payments = self.payments
        possible: list[Callable[[], None]] = []
        if payments.state in {"ready", "processing"}:
            possible += [payments.capture, payments.decline, payments.process, payments.capture]
        if payments.state in {"cancelling", "cancelled"}:
            possible += [payments.close, payments.capture]
        if payments.captured and not payments.has_fee:
            possible.append(lambda: payments.charge_fee(["USD", "EUR"][of % 2]))
        if payments.captured and not payments.is_settled:
            possible.append(payments.settle)
        if asked := payments.in_state("requested"):
            possible += [lambda: payments.refund(_one(asked, of), "succeeded")] * 2
            possible.append(lambda: payments.refund(_one(asked, of), "failed"))
        if done := payments.in_state("succeeded"):
            possible.append(lambda: payments.refund(_one(done, of), "failed"))
        if possible:
            _one(possible, which)()

    def the_intent_is_closed_at_the_provider(self, _: int) -> None:
        if self.payments.state in {"ready", "processing"}:
            self.payments.close()

    # -- what shipping and the carriers do

    @rule(which=ANY, step=ANY)
    def shipping_acts(self, which: int, step: int) -> None:
        moving = [parcel for parcel in self.shipping.parcels if STEPS[parcel.stage]]
        if self.shipping.unpacked and (which == 0 or not moving):
            self.shipping.pack(1 + step % 3)
        elif moving:
            parcel = _one(moving, which)
            if self.shipping.may(parcel, stage := _one(STEPS[parcel.stage], step)):
                self.shipping.move(parcel, stage)

    def goods_leave_unpaid(self, _: int) -> None:
        """Somebody at the ramp was too quick; nobody else packs before the order is paid."""
        if not (self.shipping.parcels or self.shipping.unpacked or self.shipping.is_cancelled):
            self.shipping.unpacked = {line.line: line.quantity for line in self.desk.order.lines}
            self.shipping.pack(3)
            self.shipping.move(self.shipping.parcels[0], Stage.DISPATCHED)

    # -- how the services hear one another

    @rule(which=ANY, count=st.integers(1, 3))
    def somebody_hears(self, which: int, count: int) -> None:
        for speaker in (self.payments, self.shipping)[which % 2 :]:
            for _ in range(count):
                if speaker.is_behind:
                    speaker.hear_next()
                if speaker.topic:
                    self.hear(speaker.topic.pop(0))

    @rule(which=ANY)
    def orders_hears(self, which: int) -> None:
        speaker = (self.payments, self.shipping)[which % 2]
        if speaker.topic:
            self.hear(speaker.topic.pop(0))

    def a_parcels_fact_overtakes(self, which: int) -> None:
        if len(self.shipping.topic) > 1:
            self.is_orderly = False
            self.hear(self.shipping.topic.pop(which % len(self.shipping.topic)))

    def a_fact_is_heard_again(self, which: int) -> None:
        """Long after the inbox forgot it, the more the further back."""
        if self.delivered:
            fact = self.delivered[-min(which + 1, len(self.delivered))]
            self.is_orderly = self.is_orderly and fact.type.startswith("payment.")
            self.hear(fact)

    def orders_will_crash_before_its_next_commit(self, _: int) -> None:
        self.desk.crash = True

    # -- what people ask

    def somebody_cancels(self, _: int) -> None:
        order = self.desk.order
        refusal = self.desk.ask(lambda key, tx: commands.cancel(key, SHOPPER, "changed my mind", tx))
        if refusal is None:
            assert order.status in {OrderStatus.PENDING, OrderStatus.CANCELLED} or order.is_cancellable
            assert self.desk.order.status is OrderStatus.CANCELLED
        else:
            assert refusal.code == Code.NOT_CANCELLABLE
            assert self.desk.order == order

    def staff_mark_delivered(self, _: int) -> None:
        order = self.desk.order
        refusal = self.desk.ask(lambda key, tx: commands.mark_delivered(key, STAFF, tx))
        if refusal is None:
            self.is_orderly = False
            assert self.desk.order.status is OrderStatus.DELIVERED
        else:
            assert refusal.code == Code.INVALID_TRANSITION
            assert self.desk.order == order

    def somebody_cancels_items(self, which: int) -> None:
        order, line = self.desk.order, _one(self.desk.order.lines, which)
        wanted = [(f"{order.id}:{line.line}", 1 + which % 2)]
        refusal = self.desk.ask(lambda key, tx: edits.cancel_items(key, wanted, "too many", SHOPPER, tx))
        after = self.desk.order
        if refusal is None:
            assert _pieces(order) - _pieces(after) == wanted[0][1]
            assert after.status is not OrderStatus.CANCELLED or not _pieces(after)
        else:
            assert refusal.code in {Code.NOT_CANCELLABLE, Code.BAD_INPUT, Code.ON_HOLD}
            assert after == order

    def somebody_edits(self, which: int) -> None:
        order, line = self.desk.order, _one(self.desk.order.lines, which)
        address = (
            {**ADDRESS, "street": f"{which} Elm Street", "state": _one(STATES, which)} if which % 3 else None
        )
        kept = [(f"{order.id}:{line.line}", max(0, line.live - 1))] if which % 2 else []
        version = "an earlier one" if which == 7 else self._previewed(address, kept)
        refusal = self.desk.ask(
            lambda key, tx: edits.edit(key, address, kept, version, TERMS.taxes, SHOPPER, tx)
        )
        after = self.desk.order
        if refusal is None:
            assert which != 7
            assert address is None or after.shipping_address == address
            assert not (address and order.is_address_fixed and address != order.shipping_address)
            assert order.total - after.total == order.tax - after.tax >= 0
        else:
            codes = {Code.INVALID_TRANSITION, Code.NOT_CANCELLABLE, Code.BAD_INPUT, Code.ON_HOLD}
            assert refusal.code in ({Code.ORDER_CHANGED} if which == 7 else codes)
            assert after == order

    def _previewed(self, address: dict[str, Any] | None, kept: list[tuple[str, int]]) -> str:
        order = self.desk.order
        try:
            after = items.edit(order, address, items.fewer(order, kept), TERMS.taxes, ACT).order
        except Refusal:
            return items.edition(order)
        return items.version_of(order, after)

    def staff_hold(self, which: int) -> None:
        order, way_out = self.desk.order, _one(list(WayOut), which)
        until = self.desk.now + timedelta(days=1) if way_out is not WayOut.STAFF or which % 2 else None
        refusal = self.desk.ask(lambda key, tx: edits.hold(key, f"why {which}", until, way_out, STAFF, tx))
        if refusal is None:
            assert self.desk.order.status is OrderStatus.PROCESSING
            assert f"why {which}" in {hold.reason for hold in self.desk.order.open_holds}
        else:
            assert refusal.code in {Code.INVALID_TRANSITION, Code.BAD_INPUT}
            assert self.desk.order == order

    def staff_release(self, which: int) -> None:
        if holds := self.desk.order.holds:
            self._release(_one(holds, which))

    def _release(self, hold: Hold) -> None:
        refusal = self.desk.ask(lambda key, tx: edits.release_hold(key, str(hold.id), STAFF, tx))
        assert refusal is None
        assert hold.id not in {known.id for known in self.desk.order.open_holds}

    def staff_track(self, which: int) -> None:
        order = self.desk.order
        refusal = self.desk.ask(lambda key, tx: commands.add_tracking(key, f"1Z{which}", STAFF, tx))
        if refusal is None:
            assert self.desk.order.tracking == f"1Z{which}"
            assert (self.desk.order.status is order.status) == (order.status is not OrderStatus.PROCESSING)
        else:
            assert refusal.code == (Code.ON_HOLD if order.open_holds else Code.INVALID_TRANSITION)
            assert self.desk.order == order

    def staff_set_the_status(self, which: int) -> None:
        order, to = self.desk.order, _one(list(OrderStatus), which)
        refusal = self.desk.ask(lambda key, tx: commands.update_status(key, to, None, STAFF, {}, tx))
        after = self.desk.order
        if refusal is None:
            vouched = {OrderStatus.DELIVERED, OrderStatus.RETURNED}
            self.is_orderly = self.is_orderly and (after == order or to not in vouched)
            assert to is after.status or (to is OrderStatus.REFUNDED and after.refundable == 0)
        else:
            codes = {Code.INVALID_TRANSITION, Code.ON_HOLD, Code.NOT_REFUNDABLE}
            assert refusal.code in codes
            assert to not in order.next_statuses or order.open_holds
            assert after == order

    def staff_refund_items(self, which: int) -> None:
        order, line = self.desk.order, _one(self.desk.order.lines, which)
        wanted, before = [(f"{order.id}:{line.line}", 1)], order.refunded_pieces(line.line)
        refusal = self.desk.ask(lambda key, tx: commands.refund(key, None, wanted, "broken", STAFF, {}, tx))
        if refusal is None:
            assert len(self.desk.order.refunds[-1].lines) == 1
            assert self.desk.order.refunded_for(line.line) == line.worth(before + 1)
            assert self.desk.order.refunded_pieces(line.line) == before + 1 <= line.quantity
        else:
            assert refusal.code in {Code.NOT_REFUNDABLE, Code.REFUND_EXCEEDS_CAPTURED}
            assert self.desk.order == order

    def staff_refund(self, which: int) -> None:
        order, share = self.desk.order, _one([None, 0.3, 0.5, 1.0, 1.5], which)
        wanted = None if share is None else to_major(max(1, int(order.refundable * share)), order.currency)
        refusal = self.desk.ask(lambda key, tx: commands.refund(key, wanted, None, "goodwill", STAFF, {}, tx))
        if refusal is None:
            assert len(self.desk.order.refunds) == len(order.refunds) + 1
            assert self.desk.order.refunds[-1].status is RefundStatus.REQUESTED
        else:
            assert refusal.code in {Code.NOT_REFUNDABLE, Code.REFUND_EXCEEDS_CAPTURED}
            assert self.desk.order == order

    def staff_refund_again(self, which: int) -> None:
        """What failed; what did not, or was asked for again before, makes no refund more."""
        if not (refunds := self.desk.order.refunds):
            return
        order, failed = self.desk.order, _one(refunds, which)
        refusal = self.desk.ask(lambda key, tx: commands.refund_again(key, str(failed.id), STAFF, {}, tx))
        if refusal is not None:
            assert refusal.code in {Code.NOT_REFUNDABLE, Code.REFUND_EXCEEDS_CAPTURED}
            assert self.desk.order == order
        elif self.desk.order != order:
            retry = self.desk.order.refunds[-1]
            assert failed.status is RefundStatus.FAILED
            assert 0 < retry.amount <= failed.amount
            assert len(self.desk.order.refunds) == len(order.refunds) + 1

    def the_deadline_passes(self, which: int = 0) -> None:
        if self.desk.jobs:
            has_ended, before = self.desk.order.status is not OrderStatus.PENDING, len(self.desk.jobs)
            self.desk.fire(which)
            assert not (has_ended and len(self.desk.jobs) == before), (
                "the deadline of an order that moved on is asked for again"
            )

    def less_is_captured_than_it_costs(self, which: int) -> None:
        if self.payments.state in {"ready", "processing"}:
            self.was_underpaid = True
            self.payments.capture(short=1 + which)

    def it_is_paid_twice(self, _: int) -> None:
        if self.payments.state == "captured":
            self.payments.capture(intent=f"pi_{self.payments.captured}")

    # -- what seldom happens: rare enough that most lives come far

    @rule(which=ANY, what=st.sampled_from(PEOPLE))
    def people_ask(self, which: int, what: str) -> None:
        getattr(self, what)(which)

    @rule(which=ANY, what=st.sampled_from(MISCHIEF))
    def mischief(self, which: int, what: str) -> None:
        getattr(self, what)(which)

    def hear(self, fact: Fact) -> None:
        if type(fact) in handlers.by_fact:
            self.delivered.append(fact)
            before = self.desk.order.lines
            self.desk.hear(fact)
            for then, now in zip(before, self.desk.order.lines, strict=True):
                assert then.shipped <= now.shipped, "a parcel that had left has not"
                assert then.delivered + then.returned <= now.delivered + now.returned

    # -- what always holds

    @invariant()
    def nothing_ships_unpaid(self) -> None:
        order, types = self.desk.order, [fact.type for fact in self.desk.said]
        if order.status in PAID_FOR | {OrderStatus.REFUNDED}:
            assert order.captured >= order.total > 0 or (order.captured > 0 and self.was_underpaid)
            assert order.paid_at is not None
        for kind in ("order.handed_over", "order.shipped", "order.delivered", "order.returned"):
            assert kind not in types or types.index("order.paid") < types.index(kind)

    @invariant()
    def no_more_goes_back_than_came_in(self) -> None:
        order = self.desk.order
        paid = (fact for fact in self.desk.said if isinstance(fact, said.OrderPaid))
        came_in = self.payments.captured + sum(fact.amount for fact in paid if fact.method == OFFLINE)
        assert 0 <= order.refunded <= order.captured <= came_in
        assert order.refundable >= 0
        done = sum(refund.amount for refund in order.refunds if refund.status is RefundStatus.DONE)
        assert order.refunded == done

    @invariant()
    def until_it_is_out_what_is_kept_is_what_the_rest_costs(self) -> None:
        order = self.desk.order
        has_failed = any(refund.status is RefundStatus.FAILED for refund in order.refunds)
        if order.status is OrderStatus.PROCESSING and not (has_failed or self.was_underpaid):
            assert order.refundable == order.total - sum(line.worth(line.cancelled) for line in order.lines)

    @invariant()
    def what_it_costs_is_the_sum_of_its_parts(self) -> None:
        order = self.desk.order
        goods = sum(line.worth(line.quantity) for line in order.lines)
        assert order.total == goods + order.shipping + order.platform_fee
        assert (order.tax, order.discount) == (
            sum(n.tax for n in order.lines),
            sum(n.discount for n in order.lines),
        )

    @invariant()
    def the_payment_status_is_what_the_amounts_say(self) -> None:
        order = self.desk.order
        if order.refunded:
            assert order.payment_status is PaymentStatus.REFUNDED
        elif order.captured:
            is_settled = any(isinstance(fact, PaymentSettled) for fact in self.delivered)
            is_completed = is_settled and order.payment_method != OFFLINE
            assert order.payment_status is (PaymentStatus.COMPLETED if is_completed else PaymentStatus.PAID)
        else:
            assert order.payment_status in {PaymentStatus.PENDING, PaymentStatus.FAILED}

    @invariant()
    def nobody_keeps_the_money_of_a_cancelled_order(self) -> None:
        order = self.desk.order
        if order.status is OrderStatus.CANCELLED and not any(
            e["what"] == "refund failed" for e in self.desk.timeline
        ):
            assert order.refundable == 0

    @invariant()
    def quantities_are_within_what_was_ordered(self) -> None:
        for line in self.desk.order.lines:
            parts = (line.in_fulfilment, line.shipped, line.delivered, line.returned)
            assert all(0 <= part <= line.live for part in parts), line
            assert line.delivered + line.returned <= line.shipped
            assert line.in_fulfilment + line.shipped + line.cancelled <= line.quantity
            assert self.desk.order.refunded_pieces(line.line) <= line.quantity
            paid_out = [
                part for r in self.desk.order.refunds if r.status is RefundStatus.DONE for part in r.lines
            ]
            is_full = 0 < self.desk.order.captured <= self.desk.order.refunded
            back = sum(part.amount for part in paid_out if part.line == line.line)
            assert line.refunded == (line.worth(line.quantity) if is_full else back)

    @invariant()
    def a_hold_is_said_and_ends_with_the_order(self) -> None:
        order, is_open = self.desk.order, dict[UUID, bool]()
        for fact in self.desk.said:
            if isinstance(fact, said.OrderHeld):
                assert fact.hold_id not in is_open, "held twice"
                is_open[fact.hold_id] = True
            elif isinstance(fact, said.OrderReleased):
                assert is_open[fact.hold_id], "released before it was held, or twice"
                is_open[fact.hold_id] = False
        assert {hold.id for hold in order.open_holds} == {key for key, held in is_open.items() if held}
        assert {hold.id for hold in order.holds} == set(is_open)
        assert not order.open_holds or order.status is OrderStatus.PROCESSING

    @invariant()
    def what_can_be_done_next_is_explained(self) -> None:
        order = self.desk.order
        explained = explain(order, self.desk.now, timedelta(days=1), for_staff=True)
        assert explained.sentence
        reached = {step.to for step in explained.steps if step.to}
        assert not (order.open_holds and OrderStatus.SHIPPED in reached)
        refunded = set() if order.refundable else {OrderStatus.REFUNDED}
        assert reached == set(order.next_statuses) - refunded
        if order.status not in {OrderStatus.CANCELLED, OrderStatus.RETURNED, OrderStatus.REFUNDED}:
            assert explained.waits or order.status is OrderStatus.DELIVERED

    @invariant()
    def the_timeline_tells_every_move_and_the_table_knows_it(self) -> None:
        status = OrderStatus.PENDING
        for entry in self.desk.timeline:
            assert entry["from_status"] is status
            assert entry["actor"]
            assert entry["what"]
            status = entry["to_status"]
            if entry["from_status"] is not status:
                cell = TABLE[entry["from_status"]][TRIGGER_CALLED[entry["what"]]]
                assert isinstance(cell, Move)
                assert cell.to is status
                assert entry["why"], f"{entry['what']}: nobody says why"
        assert self.desk.order.status is status

    @invariant()
    def the_timeline_and_the_facts_tell_every_refund(self) -> None:
        order = self.desk.order
        whats = Counter(entry["what"] for entry in self.desk.timeline)
        assert whats["refund requested"] == len(order.refunds)
        assert whats["refund failed"] == sum(r.status is RefundStatus.FAILED for r in order.refunds)
        assert whats["settled"] == (order.settled_at is not None)
        asked = [fact.refund_id for fact in self.desk.said if isinstance(fact, said.OrderRefundRequested)]
        assert asked == [refund.id for refund in order.refunds]
        told = [fact.refund_id for fact in self.desk.said if isinstance(fact, said.OrderRefunded)]
        assert len(told) == len(set(told)) == whats["refunded"]

    @invariant()
    def what_happens_once_is_said_once(self) -> None:
        counted = Counter(fact.type for fact in self.desk.said)
        once = (
            "order.placed",
            "order.paid",
            "order.shipped",
            "order.delivered",
            "order.returned",
            "order.cancelled",
            "order.handed_over",
        )
        assert all(counted[kind] <= 1 for kind in once)
        assert {fact.key for fact in self.desk.said} == {str(self.desk.order.id)}

    # -- what holds in the end

    def teardown(self) -> None:
        if self.desk.row is None:
            return
        self._settle()
        if self.payments.state == "processing":
            self.payments.decline()
        for parcel in self.shipping.parcels:
            if parcel.stage is Stage.DISPATCHED:
                self.shipping.move(parcel, Stage.DELIVERED)
        self._settle()
        for _ in range(len(self.desk.jobs) + 1):
            self.the_deadline_passes()
        assert not self.desk.jobs, "a deadline that never ends"
        self._settle()
        self._is_settled(self.desk.order)

    def _settle(self) -> None:
        """Everybody hears everything, and every refund ends."""
        speakers: tuple[Speaker, ...] = (self.payments, self.shipping)
        while any(speaker.topic or speaker.is_behind for speaker in speakers) or self.payments.in_state(
            "requested"
        ):
            for speaker in speakers:
                while speaker.is_behind:
                    speaker.hear_next()
                while speaker.topic:
                    self.hear(speaker.topic.pop(0))
            for refund_id in self.payments.in_state("requested"):
                self.payments.refund(refund_id, "succeeded")

    def _is_settled(self, order: Order) -> None:
        failed = [refund for refund in order.refunds if refund.status is RefundStatus.FAILED]
        assert order.status is not OrderStatus.PENDING, "nobody paid, and it never ends"
        assert not any(refund.status is RefundStatus.REQUESTED for refund in order.refunds)
        assert order.captured == self.payments.captured + self.payments.offline
        back = [amount for amount, state in self.payments.refunds.values() if state == "succeeded"]
        assert order.refunded == sum(back)
        if order.status is OrderStatus.CANCELLED:
            assert order.cancelled_at is not None
            assert order.cancel_reason
            assert order.refunded == order.captured or failed
        if self.is_orderly:
            self._lines_are_true(order)

    def _lines_are_true(self, order: Order) -> None:
        out = {Stage.DISPATCHED, Stage.DELIVERED, Stage.RETURNED}
        for line in order.lines:

            def pieces(*stages: Stage, n: int = line.line) -> int:
                return sum(p.lines.get(n, 0) for p in self.shipping.parcels if p.stage in stages)

            by_hand = sum(s.lines.get(line.line, 0) for s in order.shipments if s.by_hand)
            assert line.shipped == min(line.live, pieces(*out) + by_hand)
            assert line.returned == min(line.live, pieces(Stage.RETURNED))
            assert line.delivered == min(line.shipped - line.returned, pieces(Stage.DELIVERED))
            assert line.in_fulfilment == min(line.live - line.shipped, pieces(Stage.LABELLED))
            surplus = pieces(*out) + by_hand > line.live
            assert not surplus or any("more has left" in entry["why"] for entry in self.desk.timeline)
        if order.status is OrderStatus.PROCESSING:
            assert any(line.shipped < line.live for line in order.lines)
        is_by_hand = any(shipment.by_hand for shipment in order.shipments)
        assert is_by_hand or order.status is not OrderStatus.SHIPPED, "nothing is on its way any more"


def _pieces(order: Order) -> int:
    return sum(line.live for line in order.lines)


def _one(choices: Any, which: int) -> Any:
    return choices[which % len(choices)]


Life.TestCase.settings = settings(
    max_examples=max(300, settings().max_examples), stateful_step_count=50, deadline=None
)
TestLife = Life.TestCase
