"""One order and its world, in memory: the real handlers and commands of orders, a payments and a shipping that only talk.

`Desk` runs what orders runs, through the real `Tx`, and keeps what a database would: the row (read back from its JSON), the
timeline, the facts, the jobs. `Payments` and `Shipping` are honest and small: they hear what orders says when they are told
to, decide as the services do, and put their facts on a topic of their own.
"""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import orjson

from orders.checkout import place
from orders.checkout.discounts import DiscountCode, DiscountKind
from orders.deadlines import deadlines
from orders.domain import Channel, Line, Order, OrderType, Stage
from orders.handlers import handlers
from orders.store import ORDERS
from orders.tables import timeline
from shared.contracts import orders as said
from shared.contracts import payments, shipping
from shared.contracts.envelope import FACTS, Fact
from shared.errors import Refusal
from shared.jobs import Job
from shared.tx import Cause, Requested, Tx
from support.orders import ADDRESS, SHOPPER, TERMS, a_basket

START = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
LESS = DiscountCode("LESS", 1, DiscountKind.PERCENT, 777, "USD", 0, None, None, None, 0, True, START)
"""7.77 % off: with the tax on what is left, no piece costs the same as the next."""
_JSON = (
    "lines",
    "shipments",
    "refunds",
    "holds",
    "earlier_trackings",
    "shipping_address",
    "billing_address",
    "metadata",
)


def ran(work: Awaitable[Any]) -> Any:
    """What the coroutine answers. A decision that waits for anything is a defect."""
    assert isinstance(work, Coroutine)
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a decision waits for something")


class Desk:
    """Orders' side: each call is one transaction. `crash`: the next one is undone after its work, and repeated."""

    def __init__(self) -> None:
        self.row: Order | None = None
        self.timeline: list[dict[str, Any]] = []
        self.said: list[Fact] = []
        self.jobs: list[Requested] = []
        self.now = START
        self.crash = False
        self.crashes = 0

    @property
    def order(self) -> Order:
        assert self.row is not None
        return self.row

    def place(self, lines: tuple[Line, ...], *, available: datetime | None = None) -> None:
        """`available`: when all of it, being ordered ahead, can be sent."""
        who = place.Customer(SHOPPER.customer_id or UUID(int=0), "test", "ann", "Ann Lee", None, None)
        expiry = timedelta(days=1)
        placing = place.Placing(
            "ORD-1", Channel.STOREFRONT, who, a_basket(lines), TERMS, ADDRESS, ADDRESS, expiry, LESS
        )
        self.run(lambda tx: place.place(placing, "shopper:ann", tx))
        if available is not None:
            self.row = replace(
                self.order, order_type=OrderType.PRE_ORDER, estimated_fulfillment_date=available
            )

    def hear(self, fact: Fact) -> None:
        """Facts are never refused: whatever this raises is a defect."""
        self.run(lambda tx: handlers.by_fact[type(fact)].handle(fact, tx))

    def ask(self, command: Callable[[str, Tx], Awaitable[str]]) -> Refusal | None:
        try:
            self.run(lambda tx: command(str(self.order.id), tx))
        except Refusal as refusal:
            return refusal
        return None

    def fire(self, which: int = 0) -> None:
        """One of the deadlines, by default the oldest, falls due."""
        due = self.jobs.pop(which % len(self.jobs))
        job = Job(due.id, due.kind, due.key, due.payload, 1, due.correlation_id, self.now)
        self.run(lambda tx: deadlines.local[due.kind].handle(job, tx))

    def run(self, work: Callable[[Tx], Awaitable[Any]]) -> None:
        self.now += timedelta(seconds=1)
        tx = Tx("orders", self.now, Cause("test", "test"))
        if self.row is not None:
            tx.put(ORDERS, self.row)
        if self.crash:
            self.crash, self.crashes, before = False, self.crashes + 1, _contents(tx)
            tx.begin_message(Cause("test", "test"))
            try:
                ran(work(tx))
            finally:
                tx.undo_message()
                assert _contents(tx) == before, "something was not undone"
        tx.begin_message(Cause("test", "test"))
        ran(work(tx))
        self._commit(tx)

    def _commit(self, tx: Tx) -> None:
        loaded = tx.loaded[ORDERS]
        [after] = (loaded.added or loaded.current).values()
        if self.row is not None and ORDERS.changed(self.row, after):
            after = replace(after, version=self.row.version + 1)
        self.row = _read_back(after)
        assert self.row == after, "what is read is not what was saved"
        assert self.row.refunded <= self.row.captured, "orders_refunded_within_captured"
        self.timeline += tx.inserted.get(timeline, [])
        self.said += [FACTS[message.type, 1].model_validate_json(message.body) for message in tx.said]
        self.jobs += tx.requested


def _contents(tx: Tx) -> Any:
    loaded = {
        mapping.table.name: (
            dict(part.current),
            dict(part.added),
            {k: v[:] for k, v in part.by_owner.items() if v},
        )
        for mapping, part in tx.loaded.items()
        if part.current or part.added
    }
    rows = [[r[:] for r in part.values() if r] for part in (tx.inserted, tx.upserted)]
    return loaded, rows, tx.said[:], tx.requested[:], set(tx.locked)


def _read_back(order: Order) -> Order:
    row = {name: getattr(order, name) for name in ORDERS.columns}
    for name in _JSON:
        row[name] = orjson.loads(orjson.dumps(row[name], option=orjson.OPT_NON_STR_KEYS))
    return ORDERS.entity_of(row)


@dataclass
class Speaker:
    """A service beside orders: hears `order-events` in order, and has a topic of its own that orders hears."""

    desk: Desk
    topic: list[Fact] = field(default_factory=list)
    heard: int = 0

    def hear_next(self) -> None:
        fact = self.desk.said[self.heard]
        self.heard += 1
        self.hear(fact)

    @property
    def is_behind(self) -> bool:
        return self.heard < len(self.desk.said)

    def hear(self, fact: Fact) -> None:
        raise NotImplementedError


@dataclass
class Payments(Speaker):
    """One intent and its refunds, by the rules of `payments.domain` and `payments.refunds`; `offline` was booked as paid outside."""

    amount: int = 0
    state: str = "none"
    captured: int = 0
    offline: int = 0
    has_fee: bool = False
    is_settled: bool = False
    refunds: dict[UUID, tuple[int, str]] = field(default_factory=dict)

    @property
    def about(self) -> dict[str, Any]:
        return {"order_id": self.desk.order.id, "currency": "USD", "amount": self.amount}

    def hear(self, fact: Fact) -> None:
        match fact:
            case said.OrderPlaced():
                self.amount, self.state = fact.total, "ready"
                self.topic.append(payments.PaymentReady(**self.about, payment_intent_id="pi_1"))
            case said.OrderCancelled() if self.state in {"ready", "processing"}:
                self.state = "cancelling"
            case said.OrderPaid(method="offline"):
                self.offline = fact.amount
                if self.state in {"ready", "processing"}:
                    self.state = "cancelling"
            case said.OrderRefundRequested():
                spoken_for = sum(amount for amount, state in self.refunds.values() if state != "failed")
                self.refunds[fact.refund_id] = (fact.amount, "requested")
                if spoken_for + fact.amount > self.captured + self.offline:
                    self.refund(fact.refund_id, "failed")

    def decline(self) -> None:
        self.state = "ready"
        self.topic.append(payments.PaymentFailed(**self.about, code="card_declined", failed_at=self.desk.now))

    def process(self) -> None:
        self.state = "processing"
        self.topic.append(
            payments.PaymentProcessing(**self.about, payment_intent_id="pi_1", since=self.desk.now)
        )

    def close(self) -> None:
        self.state = "cancelled"
        self.topic.append(payments.PaymentCancelled(**self.about))

    def capture(self, short: int = 0, intent: str = "pi_1") -> None:
        """Also of an intent that is being closed: money that has come in is never refused."""
        self.state = "captured"
        self.captured += self.amount - short
        self.topic.append(
            payments.PaymentCaptured(
                **self.about | {"amount": self.amount - short},
                payment_intent_id=intent,
                charge_id=f"ch_of_{intent}",
                captured_at=self.desk.now,
            )
        )

    def charge_fee(self, currency: str) -> None:
        self.has_fee = True
        self.topic.append(
            payments.PaymentFeeRecorded(
                order_id=self.desk.order.id, currency=currency, amount=30, charge_id="ch_1"
            )
        )

    def settle(self) -> None:
        self.is_settled = True
        about = self.about | {"amount": self.captured}
        self.topic.append(payments.PaymentSettled(**about, charge_id="ch_of_pi_1", settled_at=self.desk.now))

    def refund(self, refund_id: UUID, outcome: str) -> None:
        amount, _ = self.refunds[refund_id]
        self.refunds[refund_id] = (amount, outcome)
        about = self.about | {"amount": amount, "refund_id": refund_id}
        self.topic.append(
            payments.PaymentRefunded(**about, refunded_at=self.desk.now)
            if outcome == "succeeded"
            else payments.PaymentRefundFailed(**about, reason="bank", failed_at=self.desk.now)
        )

    def in_state(self, state: str) -> list[UUID]:
        return [refund_id for refund_id, (_, now) in self.refunds.items() if now == state]


STEPS: dict[Stage, tuple[Stage, ...]] = {
    Stage.PREPARED: (Stage.LABELLED, Stage.DISPATCHED, Stage.FAILED, Stage.VOIDED),
    Stage.LABELLED: (Stage.DISPATCHED, Stage.DELIVERED, Stage.VOIDED),
    Stage.FAILED: (Stage.LABELLED, Stage.DISPATCHED, Stage.VOIDED),
    Stage.DISPATCHED: (Stage.DELIVERED, Stage.RETURNED),
    Stage.DELIVERED: (Stage.RETURNED,),
    Stage.RETURNED: (),
    Stage.VOIDED: (),
}
_FACTS: dict[Stage, tuple[type[shipping.ShipmentFact], dict[str, Any]]] = {
    Stage.PREPARED: (shipping.ShipmentPrepared, {}),
    Stage.LABELLED: (
        shipping.ShipmentLabelled,
        {"carrier": "USPS", "service": "priority", "tracking_number": "9", "cost": 700, "currency": "USD"},
    ),
    Stage.VOIDED: (shipping.ShipmentVoided, {"refunded_cost": 700}),
    Stage.DISPATCHED: (shipping.ShipmentDispatched, {"carrier": "USPS", "tracking_number": "9"}),
    Stage.DELIVERED: (shipping.ShipmentDelivered, {}),
    Stage.RETURNED: (shipping.ShipmentReturned, {}),
    Stage.FAILED: (shipping.ShipmentFailed, {"reason": "no rate"}),
}


@dataclass
class Parcel:
    id: UUID
    lines: dict[int, int]
    stage: Stage = Stage.PREPARED


@dataclass
class Shipping(Speaker):
    """Parcels of what was paid, packed and sent as drawn; what is not wanted any more, or went by hand, is voided if it has not gone.

    `held`: the holds that it knows to be open. Staff's moves are refused then; a carrier's scan cannot be.
    """

    unpacked: dict[int, int] = field(default_factory=dict)
    is_cancelled: bool = False
    held: set[UUID] = field(default_factory=set)
    parcels: list[Parcel] = field(default_factory=list)

    def hear(self, fact: Fact) -> None:
        match fact:
            case said.OrderPaid() if not (self.is_cancelled or self.parcels):
                self.unpacked = {part.line: part.quantity for part in fact.lines}
            case said.OrderCancelled() | said.OrderHandedOver():
                self.is_cancelled, self.unpacked = True, {}
                for parcel in self.parcels:
                    if Stage.VOIDED in STEPS[parcel.stage]:
                        self.move(parcel, Stage.VOIDED)
            case said.OrderItemsCancelled():
                for part in fact.lines:
                    self._take_off(part.line, part.quantity)
            case said.OrderHeld():
                self.held.add(fact.hold_id)
            case said.OrderReleased():
                self.held.remove(fact.hold_id)

    def _take_off(self, line: int, count: int) -> None:
        """Off what is not packed, then off what is prepared, which is packed anew; what has its label stays as it is."""
        for parcel in self.parcels:
            is_prepared = parcel.stage in {Stage.PREPARED, Stage.FAILED} and line in parcel.lines
            if is_prepared and self.unpacked.get(line, 0) < count:
                self.move(parcel, Stage.VOIDED)
        left = max(0, self.unpacked.get(line, 0) - count)
        self.unpacked = {n: q for n, q in (self.unpacked | {line: left}).items() if q}

    def may(self, parcel: Parcel, stage: Stage) -> bool:
        """No label, and nothing sent without one, while the order is held."""
        is_staffs = parcel.stage in {Stage.PREPARED, Stage.FAILED} and stage in {
            Stage.LABELLED,
            Stage.DISPATCHED,
        }
        return not (is_staffs and self.held)

    def pack(self, most: int) -> None:
        """A parcel of what is not packed, `most` pieces of each line."""
        lines = {line: min(most, left) for line, left in self.unpacked.items()}
        self.unpacked = {n: left - lines[n] for n, left in self.unpacked.items() if left > lines[n]}
        parcel = Parcel(uuid5(self.desk.order.id, f"parcel {len(self.parcels)}"), lines)
        self.parcels.append(parcel)
        self.move(parcel, Stage.PREPARED)

    def move(self, parcel: Parcel, stage: Stage) -> None:
        parcel.stage = stage
        if stage is Stage.VOIDED and not self.is_cancelled:
            for line, quantity in parcel.lines.items():
                self.unpacked[line] = self.unpacked.get(line, 0) + quantity
        fact, details = _FACTS[stage]
        lines = [said.LineQuantity(line=line, quantity=quantity) for line, quantity in parcel.lines.items()]
        at = {name: self.desk.now for name in fact.model_fields if name.endswith("_at")}
        about = {"order_id": self.desk.order.id, "shipment_id": parcel.id, "lines": tuple(lines)}
        self.topic.append(fact(**about, **details, **at))
