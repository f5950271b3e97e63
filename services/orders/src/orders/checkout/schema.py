"""Placing an order through the storefront graph: prices come from the catalogue, never from the client."""

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import strawberry

from orders import store
from orders.access import actor_of
from orders.answering import settled, text
from orders.checkout import place
from orders.checkout.place import Customer, Placing
from orders.domain import Order, PaymentStatus
from orders.graph import OrderNode
from orders.store import ORDERS
from shared.auth import Principal, Role
from shared.commands import Command, execute_prepared
from shared.errors import Code, Refusal
from shared.graphql import Info
from shared.ids import uuid7
from shared.tx import Tx

_COUNTRY = re.compile(r"[A-Za-z]{2}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}\.[^@\s.]{2,63}")
_PHONE = re.compile(r"\+[1-9]\d{6,14}")


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
        return await settled(
            info,
            order_id,
            lambda order: order.payment_intent_id is not None or order.payment_status is PaymentStatus.FAILED,
            known=placed.get(order_id),
        )


async def _placing(info: Info, wanted: CreateOrderInput, placed: dict[str, Order]) -> Command:
    """The order to be, priced from the catalogue, ready to be placed: it is then noted in `placed`. Raises Refusal."""
    service, settings = info.context.service, info.context.service.settings
    if wanted.delivery_speed not in settings.shipping_rates:
        offered = ", ".join(settings.shipping_rates)
        raise Refusal(Code.BAD_INPUT, f"deliverySpeed is one of: {offered}")
    customer = _customer(info.context.principal, wanted.contact or ContactInput(), wanted.shipping_address)
    asked = [text("sku", item.sku) for item in wanted.items[: place.MAX_LINES]]
    skus = await store.skus_for(service.db, asked, customer.id)
    lines = place.priced([(item.sku, item.quantity) for item in wanted.items], skus, settings.currency)
    placing = Placing(
        number=await service.order_numbers.next(datetime.now(UTC)),
        customer=customer,
        lines=lines,
        currency=settings.currency,
        shipping=settings.shipping_rates[wanted.delivery_speed],
        delivery_speed=wanted.delivery_speed,
        shipping_address=address_of(wanted.shipping_address, customer.name),
        billing_address=address_of(wanted.billing_address or wanted.shipping_address, customer.name),
        unpaid_expiry=timedelta(seconds=settings.unpaid_expiry),
        customer_is_known=customer.is_known(skus[asked[0]]),
    )
    actor = actor_of(info.context.principal)

    async def placing_it(tx: Tx) -> str:
        order_id = await place.place(placing, actor, tx)
        placed[order_id] = tx.get(ORDERS, order_id)
        return order_id

    return placing_it


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
    if contact.email and not _EMAIL.fullmatch(text("contact.email", contact.email)):
        raise Refusal(Code.BAD_INPUT, "contact.email is no email address")
    if contact.phone and not _PHONE.fullmatch(contact.phone):
        raise Refusal(Code.BAD_INPUT, "contact.phone is a number such as +14155550123")
    return Customer(
        id=principal.customer_id or uuid7(),
        issuer=principal.issuer if own else None,
        subject=principal.subject if own else None,
        name=text("name", name),
        email=email,
        phone=contact.phone,
    )


def address_of(given: AddressInput, name: str) -> dict[str, Any]:
    for field in ("street", "city", "state", "zip_code", "country"):
        if not getattr(given, field).strip():
            raise Refusal(Code.BAD_INPUT, f"The address needs its {field}")
    if not _COUNTRY.fullmatch(given.country):
        raise Refusal(Code.BAD_INPUT, "country is an ISO 3166-1 alpha-2 code, such as US")
    fields = ((field.name, getattr(given, field.name)) for field in dataclasses.fields(given))
    checked = {field: text(field, value) if value else None for field, value in fields}
    return {**checked, "name": checked["name"] or name}
