"""The queries of lists: each reads a page's worth of index entries, whatever the filter and however many orders there are.

* `(status, payment_status, order_type)` is a cell; there are 105, and the indexes `orders_newest` and `orders_largest` have each in its
  order. A filter is a set of cells: the first of each are merged.
* A carrier, a service, what waits for staff has an index of its own by either sort, a customer by time; sorting a customer's orders,
  or a range of days, by total sorts MOST_SORTED orders at most.
* A search is several such lists, one for each thing that it may mean (`search.store`), each with its limit, and merged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    CompoundSelect,
    Date,
    Select,
    Subquery,
    Table,
    Text,
    Uuid,
    and_,
    bindparam,
    false,
    func,
    literal,
    literal_column,
    select,
    tuple_,
    union_all,
)

from orders.domain import Order, OrderType, PaymentStatus
from orders.lists.cursors import Place
from orders.lists.filters import GONE, Attention, Sort, Wanted
from orders.lists.search import store as search
from orders.status import OrderStatus
from orders.store import ORDERS
from orders.tables import ON_HOLD, order_days, order_deltas, order_series, order_totals, orders
from shared.auth import Principal
from shared.db import Database
from shared.errors import Code, Refusal
from shared.statements import Row, Statement
from shared.visibility import visible_to

_WAITING = {
    Attention.ON_HOLD: literal_column(f"({ON_HOLD})", Boolean),
    Attention.REFUND_FAILED: orders.c.refund_failed,
}
MOST_COUNTED = 10_000
MOST_SORTED = 10_000
FIGURES = ("orders", "paid_orders", "captured", "refunded")

Keys = Select[Any] | CompoundSelect[Any]


@dataclass(frozen=True, slots=True)
class Slice:
    """Which part of a list: `limit` orders behind `after`, or behind the first `offset`."""

    limit: int
    offset: int = 0
    after: Place | None = None

    @property
    def reach(self) -> int:
        return self.offset + self.limit


async def listed(db: Database, principal: Principal, wanted: Wanted, part: Slice) -> list[Order]:
    """Raises Refusal BAD_INPUT where more match than can be sorted or looked through, one of db.UNAVAILABLE."""
    if wanted.sort is Sort.TOTAL and not (_is_by_cells_alone(wanted) or _is_of_one_kind(wanted)):
        return await _sorted(db, principal, wanted, part)
    found = await _keys(db, principal, wanted, part)
    if isinstance(found, Select) and found.get_final_froms() == [orders]:
        whole = found.with_only_columns(*orders.c).offset(part.offset).limit(part.limit)
        return _orders(await db.fetch(whole))
    keys = found.subquery()
    page = select(keys.c.key, keys.c.id)
    page = _in_order(page.distinct() if wanted.search else page, wanted, keys.c.key, keys.c.id)
    return _orders(await db.fetch(_whole(page.offset(part.offset).limit(part.limit).subquery(), wanted)))


async def counted(db: Database, principal: Principal, wanted: Wanted) -> int:
    """How many match, counted one by one: MOST_COUNTED + 1 where there are more."""
    keys = (await _keys(db, principal, wanted, Slice(MOST_COUNTED + 1), ordered=False)).subquery()
    some = select(keys.c.id).distinct().limit(MOST_COUNTED + 1).subquery()
    return int((await db.fetch(select(func.count()).select_from(some)))[0][0])


async def _sorted(db: Database, principal: Principal, wanted: Wanted, part: Slice) -> list[Order]:
    """By total where no index has that order: all that match, if they are not too many."""
    every = await _keys(db, principal, wanted, Slice(MOST_SORTED + 1), ordered=False)
    found = every.limit(MOST_SORTED + 1)
    all_ = found.cte("found").prefix_with("MATERIALIZED")
    how_many = select(func.count()).select_from(all_).scalar_subquery()
    page = _in_order(select(all_.c.key, all_.c.id), wanted, all_.c.key, all_.c.id)
    if part.after is not None:
        page = page.where(_behind(wanted, part.after, all_.c.key, all_.c.id))
    rows = await db.fetch(
        _whole(page.offset(part.offset).limit(part.limit).subquery(), wanted).add_columns(how_many)
    )
    if rows and rows[0][-1] > MOST_SORTED:
        raise Refusal(
            Code.BAD_INPUT,
            f"More than {MOST_SORTED} orders match, which is too many to sort by total: narrow the dateRange, or sort by createdAt",
            argument="sort",
        )
    return _orders([row[:-1] for row in rows])


async def _keys(
    db: Database, principal: Principal, wanted: Wanted, part: Slice, *, ordered: bool = True
) -> Keys:
    """(key, id) of the first that match, behind `part.after`: enough to know the part by, some of them perhaps twice."""

    def some(*conditions: ColumnElement[bool]) -> Select[Any]:
        """The first for which the conditions hold too."""
        key = orders.c.total if wanted.sort is Sort.TOTAL else orders.c.created_at
        query: Select[Any] = select(key.label("key"), orders.c.id).where(
            *conditions, visible_to(principal, orders), *_span(wanted)
        )
        if ordered:
            query = _in_order(query, wanted, key, orders.c.id)
            if part.after is not None:
                query = query.where(_behind(wanted, part.after, key, orders.c.id))
        return query.limit(part.reach)

    if wanted.mine and principal.is_staff:
        return some(false())
    if wanted.search:
        return await _search(db, wanted, some)
    narrowed, filters = _narrowed(wanted), _filters(wanted)
    is_one_range = _is_one_index(wanted) if ordered else not filters
    if narrowed or wanted.mine or is_one_range:
        return some(*narrowed, *filters)
    return _by_cells(wanted, some)


# -- roll-ups


def _rolled_up(table: Table) -> Subquery:
    """The table, and what is not added to it yet: read in one statement, they are exact."""
    names = [column.name for column in table.c]
    both = (select(*(each.c[name] for name in names)) for each in (table, order_deltas))
    return union_all(*both).subquery()


_ALL, _DAYS, _DAYS_TOGETHER = map(_rolled_up, (order_totals, order_days, order_series))
_KINDS = Statement(
    select(
        _ALL.c.currency,
        _ALL.c.status,
        *(func.sum(_ALL.c[name]).cast(BigInteger).label(name) for name in FIGURES),
    ).group_by(_ALL.c.currency, _ALL.c.status)
)
_SERIES = Statement(
    select(
        _DAYS_TOGETHER.c.day,
        *(func.sum(_DAYS_TOGETHER.c[name]).cast(BigInteger).label(name) for name in FIGURES),
    )
    .where(
        _DAYS_TOGETHER.c.currency == bindparam("currency", type_=Text),
        _DAYS_TOGETHER.c.day.between(bindparam("first", type_=Date), bindparam("last", type_=Date)),
    )
    .group_by(_DAYS_TOGETHER.c.day)
)


async def counted_by_roll_up(db: Database, wanted: Wanted) -> int:
    """How many match, exactly and in constant time, where `wanted.is_rolled_up`."""
    rolled = _ALL if wanted.span is None else _DAYS
    query = select(func.coalesce(func.sum(rolled.c.orders), 0).cast(BigInteger))
    if wanted.span is not None:
        first, last = wanted.span.since.date(), wanted.span.until.date() - timedelta(days=1)
        query = query.where(rolled.c.day.between(first, last))
    return int((await db.fetch(query.where(*_filters(wanted, rolled.c))))[0][0])


async def kinds(db: Database) -> Sequence[Row]:
    """FIGURES by currency and status."""
    return await db.fetch(_KINDS)


async def days(db: Database, currency: str, first: date, last: date) -> dict[date, Row]:
    """FIGURES of the days on which there were orders in that currency."""
    rows = await db.fetch(_SERIES, {"currency": currency, "first": first, "last": last})
    return {row.day: row for row in rows}


# -- cells


def _is_by_cells_alone(wanted: Wanted) -> bool:
    return not (wanted.mine or wanted.span or wanted.search or _narrowed(wanted))


def _is_of_one_kind(wanted: Wanted) -> bool:
    """Of one carrier or service, or waiting for staff: there is an index of each by either sort, and nothing else to look for."""
    others = (wanted.mine, wanted.span, wanted.search, wanted.payment_status, wanted.order_type)
    is_left_or_any = wanted.statuses in ((), GONE)
    return (
        is_left_or_any
        and not any(others)
        and len(_narrowed(wanted)) == 1
        and bool(wanted.carrier or wanted.service or wanted.attention)
    )


def _is_one_index(wanted: Wanted) -> bool:
    """The newest of all, or of one status, payment status or type, have an index each."""
    filters = (len(wanted.statuses), wanted.payment_status is not None, wanted.order_type is not None)
    return wanted.sort is Sort.CREATED_AT and sum(filters) <= 1


def _by_cells(wanted: Wanted, some: Callable[..., Select[Any]]) -> Select[Any]:
    """The first of each cell that the filter allows."""
    statuses = _each("s", wanted.statuses or tuple(OrderStatus))
    payments = _each("p", (wanted.payment_status,) if wanted.payment_status else tuple(PaymentStatus))
    types = _each("t", (wanted.order_type,) if wanted.order_type else tuple(OrderType))
    first = some(
        orders.c.status == statuses, orders.c.payment_status == payments, orders.c.order_type == types
    ).lateral("first")
    return select(first.c.key, first.c.id).select_from(
        *(each.scalar_alias for each in (statuses, payments, types)), first
    )


def _each(name: str, values: Sequence[str]) -> Any:
    return func.unnest(literal([str(value) for value in values], ARRAY(Text))).column_valued(name)


# -- search


async def _search(db: Database, wanted: Wanted, some: Callable[..., Select[Any]]) -> CompoundSelect[Any]:
    """Everything that the term may mean. Raises Refusal BAD_INPUT when it is a part of too many customers' names."""
    rest = (*_narrowed(wanted), *_filters(wanted))
    who = func.unnest(literal(await search.customers_like(db, wanted.search), ARRAY(Uuid))).column_valued(
        "who"
    )
    theirs = some(orders.c.customer_id == who, *rest).lateral("theirs")
    branches = [some(meaning, *rest).subquery() for meaning in search.meanings(wanted.search)]
    return union_all(
        select(theirs.c.key, theirs.c.id).select_from(who.scalar_alias, theirs),
        *(select(branch.c.key, branch.c.id) for branch in branches),
    )


# -- what all share


def _narrowed(wanted: Wanted) -> list[ColumnElement[bool]]:
    """Conditions with an index of their own."""
    found: list[ColumnElement[bool]] = []
    if wanted.customer_id is not None:
        found.append(orders.c.customer_id == wanted.customer_id)
    if wanted.carrier:
        found.append(orders.c.shipping_carrier == wanted.carrier)
    if wanted.service:
        found.append(orders.c.shipping_service == wanted.service)
    if wanted.tracking:
        found.append(orders.c.tracking.like(search.prefix(wanted.tracking)))
    if wanted.attention is not None:
        found.append(_WAITING[wanted.attention])
    return found


def _filters(wanted: Wanted, of: Any = orders.c) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if len(wanted.statuses) == 1:
        found.append(of.status == wanted.statuses[0])
    elif wanted.statuses:
        found.append(of.status == func.any(literal([str(s) for s in wanted.statuses], ARRAY(Text))))
    if wanted.payment_status is not None:
        found.append(of.payment_status == wanted.payment_status)
    if wanted.order_type is not None:
        found.append(of.order_type == wanted.order_type)
    return found


def _span(wanted: Wanted) -> list[ColumnElement[bool]]:
    if wanted.span is None:
        return []
    return [and_(orders.c.created_at >= wanted.span.since, orders.c.created_at < wanted.span.until)]


def _behind(wanted: Wanted, place: Place, key: Any, id_: Any) -> ColumnElement[bool]:
    here = tuple_(literal(place.key, key.type), literal(place.id, Uuid))
    return tuple_(key, id_) < here if wanted.descending else tuple_(key, id_) > here


def _in_order(query: Select[Any], wanted: Wanted, key: Any, id_: Any) -> Select[Any]:
    return query.order_by(key.desc(), id_.desc()) if wanted.descending else query.order_by(key, id_)


def _whole(keys: Subquery, wanted: Wanted) -> Select[Any]:
    """The orders of the keys."""
    joined = select(orders).join(keys, keys.c.id == orders.c.id)
    return _in_order(joined, wanted, keys.c.key, keys.c.id)


def _orders(rows: Sequence[Any]) -> list[Order]:
    return [ORDERS.entity_of_values(row) for row in rows]
