"""What a list is asked for: the graph's filters and sort, checked, as one value that store and cursor go by.

`dateRange` is about `createdAt`, everywhere. Whoever leaves a filter out, gives null, or searches for "" does not filter by it.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

import strawberry

from orders.answering import text
from orders.domain import OrderType, PaymentStatus
from orders.status import OrderStatus
from shared.commands import uuid_or
from shared.errors import Code, Refusal

LEAST_SEARCHED = 2
"""Characters: with one of them begins a word of nearly every customer."""
GONE = (OrderStatus.SHIPPED, OrderStatus.DELIVERED, OrderStatus.RETURNED, OrderStatus.REFUNDED)
"""What has left as a whole. An order that went out in part is PROCESSING still; REFUNDED is only what was shipped before."""

T = TypeVar("T")
_DAY = timedelta(days=1)


class Sort(StrEnum):
    """What an index serves with every filter of the list. The number follows the creation; `updatedAt` has no index, so that an
    order can change without writing one (HOT).
    """

    CREATED_AT = "createdAt"
    TOTAL = "total"


@strawberry.enum(
    name="OrderAttention",
    description="What an order waits for staff for: ON_HOLD until they release it or it ends by itself, REFUND_FAILED until what failed"
    " went back or is asked for again (`retryRefund`).",
)
class Attention(StrEnum):
    ON_HOLD = "ON_HOLD"
    REFUND_FAILED = "REFUND_FAILED"


@strawberry.input(
    description="ISO 8601, UTC where no offset is given; an end without a time is the end of that day."
)
class DateRangeInput:
    start: str
    end: str


@strawberry.input(
    description="What is given must all hold; `search` looks at the number, the customer's name, email and phone, and the tracking number;"
    " of 4 to 6 digits alone, whether they are the last part of the number or the end of the phone."
)
class OrderFilterInput:
    status: OrderStatus | None = strawberry.UNSET
    payment_status: PaymentStatus | None = strawberry.UNSET
    order_type: OrderType | None = strawberry.UNSET
    search: str | None = strawberry.UNSET
    date_range: DateRangeInput | None = strawberry.UNSET
    customer_id: str | None = strawberry.UNSET
    attention: Attention | None = strawberry.UNSET


@strawberry.input(description="`carrier` and `service` as the order has them, `tracking` by its beginning.")
class ShippedOrderFilterInput:
    carrier: str | None = strawberry.UNSET
    service: str | None = strawberry.UNSET
    tracking: str | None = strawberry.UNSET
    date_range: DateRangeInput | None = strawberry.UNSET
    search: str | None = strawberry.UNSET


@strawberry.input(
    description="field: createdAt or total (not of a search); direction: ASC or DESC (the default)."
)
class SortInput:
    field: str
    direction: str | None = strawberry.UNSET


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` until just before `until`."""

    since: datetime
    until: datetime

    @property
    def is_whole_days(self) -> bool:
        return self.since.timetz() == self.until.timetz() == time(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A list: which orders, in what order. `mine` is what the caller owns, everything else is for staff."""

    statuses: tuple[OrderStatus, ...] = ()
    payment_status: PaymentStatus | None = None
    order_type: OrderType | None = None
    customer_id: UUID | None = None
    span: Span | None = None
    search: str = ""
    carrier: str = ""
    service: str = ""
    tracking: str = ""
    attention: Attention | None = None
    sort: Sort = Sort.CREATED_AT
    descending: bool = True
    mine: bool = False

    @property
    def is_rolled_up(self) -> bool:
        """Whether the roll-ups know how many there are."""
        narrow = self.mine or self.customer_id or self.search or self.carrier or self.service or self.tracking
        return not (narrow or self.attention) and (self.span is None or self.span.is_whole_days)


def or_default(value: T | None, default: T) -> T:
    """Null and left out are the same."""
    return default if value is None or value is strawberry.UNSET else value


def wanted_orders(given: OrderFilterInput | None, sort: SortInput | None = None) -> Wanted:
    """Raises Refusal BAD_INPUT."""
    given = or_default(given, OrderFilterInput())
    status = or_default(given.status, None)
    return _sorted(
        sort,
        statuses=(status,) if status else (),
        payment_status=or_default(given.payment_status, None),
        order_type=or_default(given.order_type, None),
        customer_id=_customer(or_default(given.customer_id, None)),
        span=_span(given.date_range),
        search=searched("search", given.search),
        attention=or_default(given.attention, None),
    )


def wanted_shipped(given: ShippedOrderFilterInput | None, sort: SortInput | None = None) -> Wanted:
    """Raises Refusal BAD_INPUT."""
    given = or_default(given, ShippedOrderFilterInput())
    return _sorted(
        sort,
        statuses=GONE,
        carrier=text("carrier", or_default(given.carrier, "")),
        service=text("service", or_default(given.service, "")),
        tracking=searched("tracking", given.tracking),
        span=_span(given.date_range),
        search=searched("search", given.search),
    )


def searched(name: str, value: str | None) -> str:
    """Raises Refusal BAD_INPUT."""
    term = text(name, or_default(value, "")).strip()
    if 0 < len(term) < LEAST_SEARCHED:
        raise Refusal(Code.BAD_INPUT, f"{name} takes {LEAST_SEARCHED} characters at least", argument=name)
    return term


def span_of(given: DateRangeInput) -> Span:
    """Raises Refusal BAD_INPUT."""
    since, _ = _moment("start", given.start)
    end, is_day = _moment("end", given.end)
    span = Span(since, end + (_DAY if is_day else timedelta(microseconds=1)))
    if span.since >= span.until:
        raise Refusal(Code.BAD_INPUT, "dateRange ends before it starts", argument="dateRange")
    return span


def _span(given: DateRangeInput | None) -> Span | None:
    known: DateRangeInput | None = or_default(given, None)
    return None if known is None else span_of(known)


def _moment(name: str, value: str) -> tuple[datetime, bool]:
    """The moment, and whether it was a date alone: then the date's first. There is a day before it, and one after."""
    try:
        at = datetime.fromisoformat(value)
        in_utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        in_utc - _DAY, in_utc + _DAY  # they must exist
    except (ValueError, OverflowError):
        raise Refusal(
            Code.BAD_INPUT,
            f"dateRange.{name} is an ISO 8601 date or time, such as 2026-01-31 or 2026-01-31T12:00:00Z",
            argument="dateRange",
        ) from None
    return in_utc, _is_day(value)


def _is_day(value: str) -> bool:
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _customer(value: str | None) -> UUID | None:
    wrong = Refusal(Code.BAD_INPUT, "customerId is a UUID", argument="customerId")
    return uuid_or(value, wrong) if value else None


def _sorted(sort: SortInput | None, **filters: Any) -> Wanted:
    known: SortInput | None = or_default(sort, None)
    if known is None:
        return Wanted(**filters)
    direction = or_default(known.direction, "DESC").upper()
    if known.field not in list(Sort):
        allowed = [str(field) for field in Sort]
        raise Refusal(
            Code.BAD_INPUT, f"sort.field is {' or '.join(allowed)}", argument="sort", allowed=allowed
        )
    if direction not in ("ASC", "DESC"):
        raise Refusal(
            Code.BAD_INPUT, "sort.direction is ASC or DESC", argument="sort", allowed=["ASC", "DESC"]
        )
    if known.field == Sort.TOTAL and filters["search"]:
        raise Refusal(
            Code.BAD_INPUT,
            "What a search finds is sorted by createdAt",
            argument="sort",
            allowed=["createdAt"],
        )
    return Wanted(**filters, sort=Sort(known.field), descending=direction == "DESC")
