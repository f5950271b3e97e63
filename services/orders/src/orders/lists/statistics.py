"""How many orders there are and what they brought, read from the totals: in constant time, and exact."""

from datetime import date, timedelta

import strawberry

from orders.lists import store
from orders.lists.filters import DateRangeInput, span_of
from orders.status import OrderStatus
from shared.contracts.money import to_major
from shared.errors import Code, Refusal
from shared.graphql import Info
from shared.statements import Row

MAX_DAYS = 366


@strawberry.type(
    description="All orders by status. Revenue is what was captured less what was refunded, of orders in the shop's own currency;"
    " the average is revenue per order that was paid."
)
class OrderStats:
    total_orders: int
    pending_orders: int
    processing_orders: int
    shipped_orders: int
    delivered_orders: int
    cancelled_orders: int
    returned_orders: int
    refunded_orders: int
    total_revenue: float
    average_order_value: float


@strawberry.type(
    description="The orders placed on a day (UTC) in the shop's own currency, and what they have brought until now."
)
class OrderDay:
    day: str
    orders: int
    paid_orders: int
    revenue: float
    average_order_value: float


async def stats(info: Info) -> OrderStats:
    service = info.context.service
    currency, rows = service.settings.currency, await store.kinds(service.db)

    def orders(*statuses: OrderStatus) -> int:
        return sum(row.orders for row in rows if row.status in statuses)

    own = [row for row in rows if row.currency == currency]
    revenue, paid = sum(row.captured - row.refunded for row in own), sum(row.paid_orders for row in own)
    return OrderStats(
        total_orders=orders(*OrderStatus),
        pending_orders=orders(OrderStatus.PENDING),
        processing_orders=orders(OrderStatus.PROCESSING),
        shipped_orders=orders(OrderStatus.SHIPPED),
        delivered_orders=orders(OrderStatus.DELIVERED),
        cancelled_orders=orders(OrderStatus.CANCELLED),
        returned_orders=orders(OrderStatus.RETURNED),
        refunded_orders=orders(OrderStatus.REFUNDED),
        total_revenue=to_major(revenue, currency),
        average_order_value=_average(revenue, paid, currency),
    )


async def series(info: Info, date_range: DateRangeInput) -> list[OrderDay]:
    """Raises Refusal BAD_INPUT."""
    service = info.context.service
    span, currency = span_of(date_range), service.settings.currency
    first, last = span.since.date(), (span.until - timedelta(microseconds=1)).date()
    if (last - first).days >= MAX_DAYS:
        raise Refusal(Code.BAD_INPUT, f"dateRange has {MAX_DAYS} days at most", argument="dateRange")
    found = await store.days(service.db, currency, first, last)
    return [
        _day(day, found.get(day), currency)
        for day in (first + timedelta(days=n) for n in range((last - first).days + 1))
    ]


def _day(day: date, row: Row | None, currency: str) -> OrderDay:
    if row is None:
        return OrderDay(day=day.isoformat(), orders=0, paid_orders=0, revenue=0.0, average_order_value=0.0)
    revenue = row.captured - row.refunded
    return OrderDay(
        day=day.isoformat(),
        orders=row.orders,
        paid_orders=row.paid_orders,
        revenue=to_major(revenue, currency),
        average_order_value=_average(revenue, row.paid_orders, currency),
    )


def _average(revenue: int, paid: int, currency: str) -> float:
    """To the nearest minor unit."""
    return to_major(round(revenue / paid), currency) if paid else 0.0
