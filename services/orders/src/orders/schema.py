"""The storefront subgraph of orders: queries and mutations. A resolver takes its input, calls one command or query, answers."""

import dataclasses
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import strawberry

from orders import commands, store
from orders.commands import Customer, Placing
from orders.domain import Order, PaymentStatus
from orders.graph import OrderNode, SkuNode, load_order
from orders.status import OrderStatus
from orders.store import ORDERS
from shared.auth import Principal, Role
from shared.commands import Command, execute, execute_prepared, uuid_or
from shared.errors import Code, Refusal
from shared.graphql import Info
from shared.ids import uuid7
from shared.texts import checked
from shared.tx import Tx
from shared.visibility import may_see

MAX_PAGE = 100
MAX_OFFSET = 10_000
MAX_TEXT = 500
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}\.[^@\s.]{2,63}")
_PHONE = re.compile(r"\+[1-9]\d{6,14}")


@strawberry.type(description="Where in the list this page is.")
class PageInfo:
    page: int
    limit: int
    total: int
    pages: int
    has_next: bool
    has_prev: bool


@strawberry.type
class PaginatedOrders:
    nodes: list[OrderNode]
    page: strawberry.Private[int]
    limit: strawberry.Private[int]
    status: strawberry.Private[OrderStatus | None]

    @strawberry.field
    async def page_info(self, info: Info) -> PageInfo:
        """Orders are counted only for those who ask."""
        total = await store.count_orders(info.context.service.db, info.context.principal, status=self.status)
        return PageInfo(
            page=self.page,
            limit=self.limit,
            total=total,
            pages=-(-total // self.limit),
            has_next=self.page * self.limit < total,
            has_prev=self.page > 1,
        )


@strawberry.input
class AddressInput:
    street: str
    city: str
    state: str
    zip_code: str
    country: str
    street2: str | None = None
    name: str | None = None
    phone: str | None = None


@strawberry.input
class OrderItemInput:
    sku: str
    quantity: int


@strawberry.input(description="Who is told about the order; what is missing is taken from the token.")
class ContactInput:
    name: str | None = None
    email: str | None = None
    phone: str | None = None


@strawberry.input
class CreateOrderInput:
    items: list[OrderItemInput]
    shipping_address: AddressInput
    billing_address: AddressInput | None = None
    contact: ContactInput | None = None
    delivery_speed: str = "standard"


@strawberry.type
class Query:
    @strawberry.field
    async def order(self, info: Info, id: strawberry.ID) -> OrderNode | None:  # noqa: A002 - seed A's name
        info.context.principal.require_signed_in()
        order = await load_order(info, str(id))
        return _node(info, order) if order else None

    @strawberry.field
    async def order_by_number(self, info: Info, order_number: str) -> OrderNode | None:
        principal = info.context.principal
        principal.require_signed_in()
        number = _text("orderNumber", order_number)
        order = await store.order_by_number(info.context.service.db, principal, number)
        return _node(info, order) if order else None

    @strawberry.field
    async def my_orders(
        self, info: Info, page: int | None = 1, limit: int | None = 10
    ) -> PaginatedOrders | None:
        info.context.principal.require_signed_in()
        return await _page(info, page, limit)

    @strawberry.field
    async def orders(self, info: Info, page: int | None = 1, limit: int | None = 10) -> PaginatedOrders:
        info.context.principal.require_staff()
        return await _page(info, page, limit)

    @strawberry.field
    async def orders_by_status(
        self, info: Info, status: OrderStatus, page: int | None = 1, limit: int | None = 10
    ) -> PaginatedOrders:
        info.context.principal.require_staff()
        return await _page(info, page, limit, status)

    @strawberry.field(
        description="The catalogue in the order of SKU ids, beginning after one of them; open to everybody."
    )
    async def skus(self, info: Info, after: str | None = None, limit: int | None = 50) -> list[SkuNode]:
        limit = 50 if limit is None else limit
        if not 1 <= limit <= MAX_PAGE:
            raise Refusal(Code.BAD_INPUT, f"limit is 1 to {MAX_PAGE}")
        rows = await store.skus_page(info.context.service.db, after=_text("after", after or ""), limit=limit)
        return [SkuNode.of(row) for row in rows]


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description="Places an order at the catalogue's prices; answers when its payment is ready, or after a bounded wait."
    )
    async def create_order(self, info: Info, input: CreateOrderInput) -> OrderNode:  # noqa: A002 - the habit of GraphQL
        _require_buyer(info.context.principal)
        placed: dict[str, Order] = {}
        order_id = await execute_prepared(
            info.context.service.db,
            "orders",
            lambda: _placing(info, input, placed),
            correlation_id=info.context.correlation_id,
            once=info.context.once("createOrder", input),
        )
        return await _settled(
            info,
            order_id,
            lambda order: order.payment_intent_id is not None or order.payment_status is PaymentStatus.FAILED,
            known=placed.get(order_id),
        )

    @strawberry.mutation(description="A paid order's refund is requested in the same moment.")
    async def cancel_order(self, info: Info, id: strawberry.ID) -> OrderNode:  # noqa: A002 - seed A's name
        principal = info.context.principal
        principal.require_signed_in()
        order_id = _order_id(id)
        await _command(
            info,
            "cancelOrder",
            order_id,
            {},
            lambda tx: commands.cancel(order_id, principal, "cancelled", tx),
        )
        return await _settled(info, order_id, lambda order: order.refunded >= order.captured)

    @strawberry.mutation(description="Staff's refund, in full or in part.")
    async def refund_order(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - seed A's name
        amount: float | None = None,
        reason: str | None = None,
    ) -> OrderNode:
        principal = info.context.principal
        principal.require_staff()
        order_id = _order_id(id)
        said = checked("reason", reason or "", MAX_TEXT, lines=True)
        await _command(
            info,
            "refundOrder",
            order_id,
            {"amount": amount, "reason": reason},
            lambda tx: commands.refund(order_id, amount, said, principal, tx),
        )
        return await _settled(
            info, order_id, lambda order: order.captured - order.refundable <= order.refunded
        )

    @strawberry.mutation
    async def mark_order_delivered(self, info: Info, id: strawberry.ID) -> OrderNode:  # noqa: A002 - seed A's name
        principal = info.context.principal
        principal.require_staff()
        order_id = _order_id(id)
        await _command(
            info,
            "markOrderDelivered",
            order_id,
            {},
            lambda tx: commands.mark_delivered(order_id, principal, tx),
        )
        return await _settled(info, order_id, lambda _: True)


def _node(info: Info, order: Order) -> OrderNode:
    return OrderNode.of(order, for_staff=info.context.principal.is_staff)


async def _command(
    info: Info, field: str, order_id: str, arguments: dict[str, Any], command: Command
) -> None:
    """Run the command on the locked order. Raises Refusal."""
    await execute(
        info.context.service.db,
        "orders",
        command,
        (ORDERS, [order_id]),
        correlation_id=info.context.correlation_id,
        once=info.context.once(field, {"id": order_id, **arguments}),
    )


def _order_id(given: strawberry.ID) -> str:
    """The one way to write an order's id: locks, waits and idempotency keys go by it."""
    return str(uuid_or(str(given), commands.not_found()))


async def _settled(
    info: Info, order_id: str, ready: Callable[[Order], bool], known: Order | None = None
) -> OrderNode:
    """Re-read until the other services' outcome is in, or the bounded wait is over: then the order as it stands."""
    service, principal = info.context.service, info.context.principal
    key = uuid_or(order_id, commands.not_found())

    async def read() -> Order:
        order: Order | None = await service.readings.load(key)
        if order is None or not may_see(principal, order):
            raise commands.not_found()
        return order

    wait = service.settings.outcome_wait
    return _node(info, await service.waits.until(order_id, read, ready, wait, known=known))


async def _page(
    info: Info, page: int | None, limit: int | None, status: OrderStatus | None = None
) -> PaginatedOrders:
    page, limit = 1 if page is None else page, 10 if limit is None else limit
    if not (1 <= limit <= MAX_PAGE and page >= 1 and (page - 1) * limit <= MAX_OFFSET):
        raise Refusal(
            Code.BAD_INPUT, f"limit is 1 to {MAX_PAGE}, and a page begins at most {MAX_OFFSET} orders in"
        )
    found = await store.orders_page(
        info.context.service.db,
        info.context.principal,
        offset=(page - 1) * limit,
        limit=limit,
        status=status,
    )
    return PaginatedOrders(
        nodes=[_node(info, order) for order in found], page=page, limit=limit, status=status
    )


async def _placing(info: Info, wanted: CreateOrderInput, placed: dict[str, Order]) -> Command:
    """The order to be, priced from the catalogue, ready to be placed: it is then noted in `placed`. Raises Refusal."""
    service, settings = info.context.service, info.context.service.settings
    if wanted.delivery_speed not in settings.shipping_rates:
        offered = ", ".join(settings.shipping_rates)
        raise Refusal(Code.BAD_INPUT, f"deliverySpeed is one of: {offered}")
    customer = _customer(info.context.principal, wanted.contact or ContactInput(), wanted.shipping_address)
    asked = [_text("sku", item.sku) for item in wanted.items[: commands.MAX_LINES]]
    skus = await store.skus_for(service.db, asked, customer.id)
    lines = commands.priced([(item.sku, item.quantity) for item in wanted.items], skus, settings.currency)
    placing = Placing(
        number=await service.order_numbers.next(datetime.now(UTC)),
        customer=customer,
        lines=lines,
        currency=settings.currency,
        shipping=settings.shipping_rates[wanted.delivery_speed],
        delivery_speed=wanted.delivery_speed,
        shipping_address=_address(wanted.shipping_address, customer.name),
        billing_address=_address(wanted.billing_address or wanted.shipping_address, customer.name),
        unpaid_expiry=timedelta(seconds=settings.unpaid_expiry),
        customer_is_known=customer.is_known(skus[asked[0]]),
    )
    actor = commands.actor_of(info.context.principal)

    async def place(tx: Tx) -> str:
        order_id = await commands.place(placing, actor, tx)
        placed[order_id] = tx.get(ORDERS, order_id)
        return order_id

    return place


def _require_buyer(principal: Principal) -> None:
    """Shoppers order for themselves, staff for customers without an account; partners have a graph of their own."""
    principal.require_signed_in()
    if principal.role is Role.PARTNER:
        raise Refusal(Code.FORBIDDEN, "Partners do not order through the storefront")


def _customer(principal: Principal, contact: ContactInput, address: AddressInput) -> Customer:
    """A shopper orders as itself; staff order for somebody who has no account. Labels need a name: without one, BAD_INPUT."""
    own = principal.customer_id is not None
    name = contact.name or (principal.name if own else None) or address.name
    if not name or not name.strip():
        places = (
            "in contact, in shippingAddress or in the token" if own else "in contact or in shippingAddress"
        )
        raise Refusal(Code.BAD_INPUT, f"A name is needed for the parcel: {places}")
    email = contact.email or (principal.email if own else None)
    if contact.email and not _EMAIL.fullmatch(_text("contact.email", contact.email)):
        raise Refusal(Code.BAD_INPUT, "contact.email is no email address")
    if contact.phone and not _PHONE.fullmatch(contact.phone):
        raise Refusal(Code.BAD_INPUT, "contact.phone is a number such as +14155550123")
    return Customer(
        id=principal.customer_id or uuid7(),
        issuer=principal.issuer if own else None,
        subject=principal.subject if own else None,
        name=_text("name", name),
        email=email,
        phone=contact.phone,
    )


def _address(given: AddressInput, name: str) -> dict[str, Any]:
    for field in ("street", "city", "state", "zip_code", "country"):
        if not getattr(given, field).strip():
            raise Refusal(Code.BAD_INPUT, f"The address needs its {field}")
    if not _COUNTRY.fullmatch(given.country):
        raise Refusal(Code.BAD_INPUT, "country is an ISO 3166-1 alpha-2 code, such as US")
    fields = ((field.name, getattr(given, field.name)) for field in dataclasses.fields(given))
    checked = {field: _text(field, value) if value else None for field, value in fields}
    return {**checked, "name": checked["name"] or name}


def _text(name: str, value: str) -> str:
    return checked(name, value, MAX_TEXT)


schema = strawberry.federation.Schema(query=Query, mutation=Mutation, types=[OrderNode])
