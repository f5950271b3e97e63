"""Checkout in the storefront graph: what an order would cost, and placing it. Prices come from the catalogue, never from the client."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import strawberry

from orders import store
from orders.access import actor_of
from orders.answering import answer_when, text
from orders.checkout import basket, place
from orders.checkout.basket import Basket, Delivery
from orders.checkout.checkout import Checkout
from orders.checkout.discounts import DiscountCode, code_of, invalid
from orders.checkout.guests import guest_of, once_of
from orders.checkout.inputs import (
    CreateOrderInput,
    address_of,
    buyer,
    known_customer,
    named,
    require_sound,
)
from orders.checkout.nodes import OrderPrice
from orders.checkout.place import Placing
from orders.checkout.quotes import MAX_TOKEN, require_fit
from orders.checkout.store import DISCOUNTS, discount_code
from orders.checkout.taxes import Destination
from orders.domain import Channel, Order, PaymentStatus
from orders.graph import OrderNode
from orders.metadata import merged
from orders.store import ORDERS
from shared.auth import Principal, Role
from shared.commands import Command, Locking, Once, execute_prepared
from shared.errors import Code, Refusal
from shared.graphql import Info
from shared.ids import uuid7
from shared.texts import checked
from shared.tx import Tx

_CHANNELS = {
    Role.SHOPPER: Channel.STOREFRONT,
    Role.ANONYMOUS: Channel.GUEST,
    Role.STAFF: Channel.STAFF,
}
"""Who orders through the storefront: partners have a graph of their own, a guest's token is for the one order that there is."""


@strawberry.type
class Query:
    @strawberry.field(
        description="The same money as createOrder would charge, and the same refusals of what is given; nothing is kept. Who orders"
        " may still be missing. Open to everybody."
    )
    async def price_order(self, info: Info, input: CreateOrderInput) -> OrderPrice:  # noqa: A002 - the habit of GraphQL
        now, nobody = datetime.now(UTC), uuid7()
        require_sound(info.context.principal, input)
        wanted, _ = await _basket(info, input, address_of(input.shipping_address), now, nobody)
        code = await _code(info, input)
        return OrderPrice.of(basket.offer(wanted, info.context.service.checkout.terms, code, now))


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description="Places an order at the catalogue's prices, without an account too (then contact.email is needed); answers when its"
        " payment is ready, or after a bounded wait."
    )
    async def create_order(self, info: Info, input: CreateOrderInput) -> OrderNode:  # noqa: A002 - the habit of GraphQL
        once = _admitted(info, input)
        placed: dict[str, Order] = {}
        order_id = await execute_prepared(
            info.context.service.db,
            "orders",
            lambda: _placing(info, input, placed),
            correlation_id=info.context.correlation_id,
            once=once,
        )
        as_guest = info.context.principal.role is Role.ANONYMOUS
        answer = await answer_when(
            info,
            order_id,
            lambda order: (
                order.payment_intent_id is not None or order.payment_status is not PaymentStatus.PENDING
            ),
            known=placed.get(order_id),
            caller=guest_of(order_id) if as_guest else None,
        )
        if as_guest:
            answer.guest_token = info.context.service.checkout.guests.token(order_id)
        return answer


def _admitted(info: Info, wanted: CreateOrderInput) -> Once | None:
    """How the order is repeatable, for who may order. Raises Refusal: none of this is remembered under the key."""
    principal: Principal = info.context.principal
    if principal.role not in _CHANNELS:
        raise Refusal(Code.FORBIDDEN, "This caller does not order through the storefront")
    once = info.context.once("createOrder", wanted.arguments())
    if principal.role is not Role.ANONYMOUS:
        return once
    email = wanted.contact.email if wanted.contact is not None else None
    if not email:
        raise Refusal(Code.UNAUTHENTICATED, "Sign in, or order as a guest: with contact.email")
    if once is not None:
        once = once_of(once, email)
    info.context.service.checkout.guests.admit(time.monotonic())
    return once


async def _placing(info: Info, wanted: CreateOrderInput, placed: dict[str, Order]) -> Command | Locking:
    """The order to be, priced from the catalogue, ready to be placed: it is then noted in `placed`. Raises Refusal."""
    service, principal, now = info.context.service, info.context.principal, datetime.now(UTC)
    address = address_of(wanted.shipping_address)
    who = buyer(principal, wanted)
    found, sku = await _basket(info, wanted, address, now, who if isinstance(who, UUID) else who.id)
    customer = known_customer(who, sku) if isinstance(who, UUID) else who
    code = await _code(info, wanted)
    billing = address_of(wanted.billing_address) if wanted.billing_address is not None else address
    placing = Placing(
        number=await service.order_numbers.next(now),
        channel=_CHANNELS[principal.role],
        customer=customer,
        basket=found,
        terms=service.checkout.terms,
        shipping_address=named(address, customer.name),
        billing_address=named(billing, customer.name),
        unpaid_expiry=timedelta(seconds=service.settings.unpaid_expiry),
        code=code,
        metadata=merged(None, wanted.metadata or None),
        customer_is_known=customer.is_known(sku),
    )
    actor = "guest" if principal.role is Role.ANONYMOUS else actor_of(principal)

    async def placing_it(tx: Tx) -> str:
        order_id = await place.place(placing, actor, tx)
        placed[order_id] = tx.get(ORDERS, order_id)
        return order_id

    if code is not None and code.is_limited:
        return Locking(placing_it, ((DISCOUNTS, [code.code]),))
    return placing_it


async def _basket(
    info: Info, wanted: CreateOrderInput, address: dict[str, Any], now: datetime, customer_id: UUID
) -> tuple[Basket, Any]:
    """The lines at the catalogue's prices, and one of their SKUs, which has what is known of the customer too. Raises Refusal."""
    service = info.context.service
    settings, checkout = service.settings, service.checkout
    delivery = checkout.at_flat_rate(wanted.delivery_speed)
    asked = [text("sku", item.sku) for item in wanted.items[: basket.MAX_LINES]]
    items = [(item.sku, item.quantity) for item in wanted.items]
    skus = await store.skus_for(service.db, asked, customer_id)
    lines = basket.lines_of(items, skus, settings.currency, now)
    if wanted.shipping_quote:
        delivery = await _quoted(checkout, wanted.shipping_quote, delivery, address, items, settings.currency)
    found = Basket(
        lines=lines,
        currency=settings.currency,
        delivery=delivery,
        destination=Destination.of(address),
        complete_from=basket.complete_from(lines, skus),
    )
    return found, skus[asked[0]]


async def _quoted(
    checkout: Checkout,
    token: str,
    flat: Delivery,
    address: dict[str, Any],
    items: list[tuple[str, int]],
    currency: str,
) -> Delivery:
    """What the quote charges, instead of the speed's flat rate. Raises Refusal INVALID_QUOTE."""
    quote = await checkout.quotes.read(checked("shippingQuote", token, MAX_TOKEN))
    require_fit(quote, address, items, currency)
    return flat.at(quote.amount, quote.rate)


async def _code(info: Info, wanted: CreateOrderInput) -> DiscountCode | None:
    """As it stands; whether it is good for this order is the offer's to say. Raises Refusal INVALID_DISCOUNT."""
    if not wanted.discount_code:
        return None
    written = code_of(text("discountCode", wanted.discount_code))
    found = await discount_code(info.context.service.db, written)
    if found is None:
        raise invalid("unknown", "There is no such discount code")
    return found
