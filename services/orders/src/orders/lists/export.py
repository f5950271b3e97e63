"""Orders as CSV for a spreadsheet: GET /exports/orders.csv, for staff, with the filter of `orders` as query parameters.

It is streamed page by page behind a cursor: bounded memory, and no transaction is held. What is placed meanwhile is not in it, an order
that changes meanwhile is there once, before or after its change. UTF-8, RFC 4180.
"""

import csv
import io
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from orders import store as orders_store
from orders.domain import Order, OrderType, PaymentStatus
from orders.lists import store
from orders.lists.cursors import Place
from orders.lists.filters import Attention, DateRangeInput, OrderFilterInput, Wanted, wanted_orders
from orders.lists.store import Slice
from orders.status import OrderStatus
from shared.contracts.money import exponent
from shared.db import UNAVAILABLE
from shared.errors import Code, Refusal
from shared.statements import Row

PATH = "/exports/orders.csv"
PER_PAGE = 500
PARAMETERS = (
    *("status", "paymentStatus", "orderType", "attention"),
    *("search", "start", "end", "customerId"),
)
_ENUMS: dict[str, type[StrEnum]] = {
    "status": OrderStatus,
    "paymentStatus": PaymentStatus,
    "orderType": OrderType,
    "attention": Attention,
}
_FORMULA = re.compile(r"(^|[;,|\"])(?=\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet's formula may begin, also in full-width letters (OWASP, CSV injection): at the cell's beginning, and behind
what another locale's spreadsheet takes for the end of a cell."""
_TELEPHONE = re.compile(r"\+[0-9]{4,15}")
"""E.164: a spreadsheet reads it as a number, which does nothing."""
COLUMNS = (
    *("orderNumber", "id", "createdAt", "status", "paymentStatus", "orderType", "channel"),
    *("customerId", "customerName", "customerEmail", "customerPhone", "itemCount", "items", "currency"),
    *("subtotal", "shipping", "tax", "discount", "platformFee", "total", "captured", "refunded"),
    *("discountCode", "paymentMethod", "shippingCarrier", "shippingService", "tracking"),
    *("paidAt", "shippedAt", "deliveredAt", "cancelledAt", "shipToCity", "shipToState", "shipToCountry"),
)


def route(service: Any) -> Route:
    """For `Service(routes=...)` of orders."""

    async def answer(request: Request) -> Response:
        try:
            principal = await service.authenticator.authenticate(request.headers.get("authorization"))
            principal.require_staff()
            wanted = _wanted(request.query_params)
            pages = _pages(service, principal, wanted)
            first = await anext(pages)
        except Refusal as refusal:
            return _refused(refusal)
        except UNAVAILABLE:
            return _refused(
                Refusal(Code.SERVICE_UNAVAILABLE, "The service cannot reach its database: try again")
            )
        disposition = {
            "content-disposition": 'attachment; filename="orders.csv"',
            "cache-control": "no-store",
        }
        return StreamingResponse(
            _stream(first, pages), media_type="text/csv; charset=utf-8", headers=disposition
        )

    return Route(PATH, answer, methods=["GET"])


def cell(value: str) -> str:
    """What people wrote, as a spreadsheet shows and never runs it: what begins like a formula gets an apostrophe in front."""
    return value if _TELEPHONE.fullmatch(value) else _FORMULA.sub(r"\1'", value)


def row_of(order: Order, customer: Row | None) -> list[str]:
    """In the order of COLUMNS. Amounts are decimals of the currency, with a point; times ISO 8601 in UTC."""
    items = "; ".join(f"{line.live} x {line.sku_id}" for line in order.lines if line.live)
    amounts = ("subtotal", "shipping", "tax", "discount", "platform_fee", "total", "captured", "refunded")
    who = ("", "", "") if customer is None else (customer.name, customer.email or "", customer.phone or "")
    times = (order.paid_at, order.shipped_at, order.delivered_at, order.cancelled_at)
    ship_to = (order.shipping_address.get(name) or "" for name in ("city", "state", "country"))
    return [
        *map(cell, (order.order_number, str(order.id), _iso(order.created_at))),
        *(order.status, order.payment_status, order.order_type, order.channel, str(order.customer_id)),
        *map(cell, who),
        *(str(sum(line.live for line in order.lines)), cell(items), order.currency),
        *(_decimal(getattr(order, name), order.currency) for name in amounts),
        *map(
            cell,
            (
                order.discount_code or "",
                order.payment_method,
                order.shipping_carrier or "",
                order.shipping_service or "",
                order.tracking or "",
            ),
        ),
        *(_iso(at) if at else "" for at in times),
        *map(cell, ship_to),
    ]


async def _pages(service: Any, principal: Any, wanted: Wanted) -> AsyncIterator[list[Sequence[str]]]:
    """One at least."""
    part = Slice(PER_PAGE)
    while True:
        found = await store.listed(service.db, principal, wanted, part)
        ids = list({order.customer_id for order in found})
        customers: Mapping[UUID, Row] = await orders_store.customers_by_id(service.db, ids) if ids else {}
        yield [row_of(order, customers.get(order.customer_id)) for order in found]
        if len(found) < PER_PAGE:
            return
        part = replace(part, after=Place(found[-1].created_at, found[-1].id, 1))


async def _stream(
    first: list[Sequence[str]], others: AsyncIterator[list[Sequence[str]]]
) -> AsyncIterator[str]:
    yield _csv([COLUMNS, *first])
    async for rows in others:
        yield _csv(rows)


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _wanted(given: QueryParams) -> Wanted:
    """Raises Refusal BAD_INPUT, for an unknown parameter too: a filter that is misspelt would export everything."""
    if unknown := sorted(set(given) - set(PARAMETERS)):
        raise Refusal(Code.BAD_INPUT, f"There is no {unknown[0]}", allowed=list(PARAMETERS))
    if len(given.multi_items()) > len(given):
        raise Refusal(Code.BAD_INPUT, "Each parameter is given once")
    chosen = {name: _one_of(name, given[name]) for name in _ENUMS if given.get(name)}
    start, end = given.get("start"), given.get("end")
    if bool(start) != bool(end):
        raise Refusal(Code.BAD_INPUT, "start and end come together", argument="start")
    return wanted_orders(
        OrderFilterInput(
            status=chosen.get("status"),
            payment_status=chosen.get("paymentStatus"),
            order_type=chosen.get("orderType"),
            search=given.get("search"),
            date_range=DateRangeInput(start=start, end=end) if start and end else None,
            customer_id=given.get("customerId"),
            attention=chosen.get("attention"),
        )
    )


def _one_of(name: str, value: str) -> Any:
    allowed = [str(each) for each in _ENUMS[name]]
    if value not in allowed:
        raise Refusal(
            Code.BAD_INPUT, f"{name} is one of {', '.join(allowed)}", argument=name, allowed=allowed
        )
    return _ENUMS[name](value)


def _refused(refusal: Refusal) -> Response:
    by_code = {Code.UNAUTHENTICATED: 401, Code.FORBIDDEN: 403, Code.SERVICE_UNAVAILABLE: 503}
    status = by_code.get(refusal.code, 400)
    error = {"message": refusal.message, "extensions": {"code": refusal.code, **refusal.details}}
    return Response(orjson.dumps({"errors": [error]}), status, media_type="application/json")


def _decimal(minor: int, currency: str) -> str:
    digits = exponent(currency)
    if not digits:
        return str(minor)
    whole, part = divmod(minor, 10**digits)
    return f"{whole}.{part:0{digits}d}"


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
