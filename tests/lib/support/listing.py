"""Orders to be found: a hundred of all kinds, of three customers, in a real database, and a caller's questions to the graph."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from orders.domain import Hold, Order, OrderType, PaymentStatus, WayOut
from orders.schema import schema
from orders.settings import Settings
from orders.status import OrderStatus
from orders.store import ORDERS
from orders.tables import customers, orders
from shared.auth import Principal
from shared.db import Database
from shared.errors import Code, Refusal
from shared.execution import Operations
from shared.graphql import Context
from shared.mapping import insert_sql, recordset
from support.orders import CUSTOMER, NOW, OTHER, STAFF, an_order

BOB = OTHER.customer_id
CAROL = UUID(int=3)
PEOPLE = {
    CUSTOMER: ("Ann Lee", "ann@example.com", "+14155550123"),
    BOB: ("Bob 100% O'Neill", "bob_b@shop.test", "+442071838750"),
    CAROL: ("Carol Ångström", None, None),
}
CARRIERS = {"USPS": ("Priority", "Ground"), "UPS": ("Ground", "Next Day")}
A_HOLD = Hold(UUID(int=4), "fraud?", NOW, "staff:sam", WayOut.RELEASE)
SHIPPED = {OrderStatus.SHIPPED, OrderStatus.DELIVERED, OrderStatus.RETURNED, OrderStatus.REFUNDED}


def random_order(chance: random.Random, number: int) -> Order:
    """Three of ten share a moment, some a total: ties have to be told apart."""
    status = chance.choice(list(OrderStatus))
    total = chance.choice((500, 999, 2500, chance.randrange(1, 10**6)))
    captured = chance.choice((0, total))
    at = NOW - timedelta(hours=chance.randrange(24 * 20)) if chance.random() < 0.7 else NOW
    carrier = chance.choice([*CARRIERS]) if status in SHIPPED else None
    return an_order(
        id=UUID(int=chance.getrandbits(128)),
        order_number=f"ORD-{at:%Y%m%d}-{number:05d}",
        customer_id=chance.choice([*PEOPLE]),
        status=status,
        payment_status=chance.choice(list(PaymentStatus)),
        order_type=chance.choice(list(OrderType)),
        currency=chance.choice(("USD", "USD", "USD", "EUR")),
        total=total,
        captured=captured,
        refunded=chance.choice((0, captured, captured // 2)),
        created_at=at,
        shipping_carrier=carrier,
        shipping_service=chance.choice(CARRIERS[carrier]) if carrier else None,
        holds=chance.choice(((), (), (A_HOLD,), (replace(A_HOLD, released_at=NOW),))),
        refund_failed=chance.random() < 0.2,
        tracking=f"{'9400' if carrier == 'USPS' else '1Z_9'}{number:06d}" if carrier else None,
    )


@dataclass
class Shelf:
    """`orders` are those in the database, as they were put there."""

    db: Database
    orders: list[Order] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = Settings(database_url=self.db.url, kafka_url="nowhere:9")
        self._service = SimpleNamespace(db=self.db, settings=settings)
        self._operations = Operations(schema)

    async def put(self, put: Iterable[Order]) -> None:
        new = list(put)
        async with self.db.transaction() as conn:
            await conn.execute(insert_sql(orders, ORDERS.columns), recordset(new))
        self.orders += new

    async def know_customers(self) -> None:
        rows = [
            {"id": id_, "name": name, "email": email, "phone": phone, "updated_at": NOW.isoformat()}
            for id_, (name, email, phone) in PEOPLE.items()
        ]
        async with self.db.transaction() as conn:
            await conn.execute(insert_sql(customers, tuple(rows[0])), recordset(rows))

    async def ask(self, document: str, caller: Principal = STAFF, **variables: Any) -> Any:
        """The data. Raises the Refusal, if it is one."""
        context = Context(caller, "test", None, self._service)
        result = await self._operations.execute(document, variables, None, context)
        for error in result.errors or []:
            raise error.original_error or error
        return result.data

    async def refused(self, document: str, caller: Principal = STAFF, **variables: Any) -> Refusal:
        try:
            answer = await self.ask(document, caller, **variables)
        except Refusal as refusal:
            return refusal
        raise AssertionError(f"not refused: {answer}")

    async def bad_input(self, document: str, **variables: Any) -> str:
        refusal = await self.refused(document, **variables)
        assert refusal.code is Code.BAD_INPUT
        return refusal.message


def numbers(found: Sequence[Any]) -> list[str]:
    """Of orders, or of what the graph answers."""
    return [each.order_number if isinstance(each, Order) else each["orderNumber"] for each in found]


def newest(found: Iterable[Order], *, last: bool = False) -> list[str]:
    """The numbers, as a list sorts them that is not told how; `last`: the other way round."""
    return numbers(sorted(found, key=lambda order: (order.created_at, order.id), reverse=not last))
