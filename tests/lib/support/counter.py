"""The counter of orders: its storefront graph on a real database, asked as whoever one likes; facts heard by its real inbox."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from strawberry.dataloader import DataLoader

from orders import store
from orders.checkout.checkout import Checkout
from orders.domain import Order, Refund, Stage
from orders.handlers import handlers
from orders.reactions import payment_captured, shipment_reached
from orders.schema import schema
from orders.settings import Settings
from orders.store import ORDERS
from shared.auth import Principal, Role, Scope
from shared.commands import execute
from shared.contracts.envelope import Fact
from shared.contracts.orders import LineQuantity
from shared.contracts.payments import PaymentCaptured, PaymentRefunded, PaymentRefundFailed
from shared.contracts.shipping import ShipmentDispatched, ShipmentLabelled
from shared.db import Database
from shared.errors import Refusal
from shared.execution import Operations
from shared.graphql import Context
from shared.inbox import Inbox
from shared.tx import Tx
from shared.waits import Waits
from support.accounts import record
from support.orders import NOW, STAFF, a_line, all_lines, an_order, later

ITEMS = "items { status quantity cancelledQuantity shippedQuantity deliveredQuantity returnedQuantity refunded discount tax }"
CANCEL_ITEMS = (
    "mutation($id: ID!, $items: [ItemQuantityInput!]!, $reason: String)"
    f" {{ cancelOrderItems(id: $id, items: $items, reason: $reason) {{ status {ITEMS} }} }}"
)
REFUND_ITEMS = (
    "mutation($id: ID!, $items: [ItemQuantityInput!], $amount: Float)"
    f" {{ refundOrder(id: $id, items: $items, amount: $amount) {{ status {ITEMS} }} }}"
)
EXPLAIN = (
    "query($id: ID!) { explainOrder(id: $id) { status sentence money { ordered captured refunded refundable due fees }"
    " waits { what since until } decided { what why actor } next { command to who } } }"
)
RELEASE = "mutation($id: ID!, $hold: ID!) { releaseHold(id: $id, holdId: $hold) { holds { releasedAt } } }"
TAX_RATES = {"US-CA": Decimal("0.1"), "US-OR": Decimal("0.04"), "US-NY": Decimal("0.12")}


def staff_with(*scopes: Scope) -> Principal:
    return replace(STAFF, scopes=frozenset(scopes))


def a_guest(order: Order) -> Principal:
    return Principal(Role.GUEST, f"test|guest {order.id}", "test", "guest", order_id=order.id)


class Counter:
    """Nobody answers for payments or shipping: what they say is said by the test."""

    def __init__(self, db: Database) -> None:
        self.db, self.inbox = db, Inbox(db, handlers)
        settings = Settings(database_url=db.url, kafka_url="nowhere:9", outcome_wait=0, tax_rates=TAX_RATES)
        self._service = SimpleNamespace(
            db=db,
            settings=settings,
            checkout=Checkout(settings),
            waits=Waits(db),
            readings=DataLoader(partial(store.anybodys_orders, db), cache=False),
        )
        self._operations = Operations(schema)

    def outcome_wait(self, seconds: float) -> None:
        """How long a mutation waits for what the other services make of it: usually not at all."""
        self._service.settings = self._service.settings.model_copy(update={"outcome_wait": seconds})

    async def place(self, *lines: Any, come_to: str = "paid", **changes: Any) -> Order:
        """An order of Ann's that is `placed`, `paid`, has its `label`, is `out` or is `delivered`; nothing was said of it."""
        order = an_order(*lines, **changes)
        if come_to != "placed":
            order = payment_captured(order, order.total, "pi_1", later(1)).order
        stages = {"label": Stage.LABELLED, "out": Stage.DISPATCHED, "delivered": Stage.DELIVERED}
        if come_to in stages:
            order = shipment_reached(order, uuid4(), stages[come_to], all_lines(order), later(2)).order

        async def command(tx: Tx) -> str:
            tx.add(ORDERS, order)
            return str(order.id)

        await execute(self.db, "orders", command, correlation_id="t")
        return order

    async def ask(
        self, document: str, caller: Principal = STAFF, *, key: str | None = None, **variables: Any
    ) -> Any:
        """The one field's answer. Raises Refusal."""
        context = Context(caller, "test", key, self._service)
        result = await self._operations.execute(document, variables, None, context)
        for error in result.errors or ():
            raise error.original_error or error
        assert result.data is not None
        [answer] = result.data.values()
        return answer

    async def refusal(self, document: str, caller: Principal = STAFF, **variables: Any) -> Refusal:
        try:
            answer = await self.ask(document, caller, **variables)
        except Refusal as refused:
            return refused
        raise AssertionError(f"was answered: {answer}")

    async def read(self, order: Order | UUID) -> Order:
        key = order if isinstance(order, UUID) else order.id
        return (await store.orders_by_id(self.db, STAFF, [key]))[key]

    async def hear(self, *facts: Fact) -> None:
        await self.inbox.receive([record(fact) for fact in facts])

    async def said(self, order: Order) -> list[str]:
        rows = await self.db.fetch(
            text("SELECT type FROM event_log WHERE key = :key ORDER BY id"), {"key": str(order.id)}
        )
        return [row.type for row in rows]

    async def told(self, order: Order) -> list[tuple[str, str]]:
        """What the timeline says, and why."""
        rows = (await store.timelines(self.db, [order.id]))[order.id]
        return [(row.what, row.why) for row in rows]


def some(order: Order, **lines: int) -> list[dict[str, Any]]:
    """`some(order, _1=2)`: two pieces of the first line."""
    return [{"itemId": f"{order.id}:{name[1:]}", "quantity": count} for name, count in lines.items()]


def taxed() -> tuple[Any, ...]:
    """Three at 10.00 less 1.00, plus 0.50; one at 5.00."""
    return replace(a_line(1, 3, 1000), discount=100, tax=50), a_line(2, 1, 500)


@asynccontextmanager
async def a_counter(url: str) -> AsyncIterator[Counter]:
    db = Database(url)
    await db.open()
    try:
        yield Counter(db)
    finally:
        await db.close()


def captured(order: Order, intent: str = "pi_1", amount: int | None = None) -> PaymentCaptured:
    return PaymentCaptured(
        order_id=order.id,
        currency="USD",
        amount=order.total if amount is None else amount,
        payment_intent_id=intent,
        charge_id=f"ch_{intent}",
        captured_at=NOW,
    )


def labelled(order: Order, shipment_id: UUID, lines: dict[int, int]) -> ShipmentLabelled:
    return ShipmentLabelled(
        order_id=order.id,
        shipment_id=shipment_id,
        lines=_lines(lines),
        carrier="USPS",
        service="priority",
        tracking_number="9205",
        cost=700,
        currency="USD",
        labelled_at=NOW,
    )


def dispatched(order: Order, shipment_id: UUID, lines: dict[int, int]) -> ShipmentDispatched:
    return ShipmentDispatched(
        order_id=order.id,
        shipment_id=shipment_id,
        lines=_lines(lines),
        carrier="USPS",
        tracking_number="9205",
        dispatched_at=NOW,
    )


def _lines(lines: dict[int, int]) -> tuple[LineQuantity, ...]:
    return tuple(LineQuantity(line=line, quantity=quantity) for line, quantity in lines.items())


def refund_failed(order: Order, refund: Refund) -> PaymentRefundFailed:
    return PaymentRefundFailed(
        order_id=order.id, currency="USD", amount=refund.amount, refund_id=refund.id, reason="bank"
    )


def refunded(order: Order, refund_id: Any, amount: int) -> PaymentRefunded:
    return PaymentRefunded(
        order_id=order.id, currency="USD", amount=amount, refund_id=refund_id, refunded_at=NOW
    )
