"""Another address for an order that has not gone out, and what tax is there. Pure; minor units."""

from dataclasses import replace
from typing import Any

from orders.checkout.taxes import Destination, Taxes
from orders.decisions import about_order, decide, noted, request_refund
from orders.domain import Act, Decision, Order
from orders.life.holds import require_paid_in_full
from orders.status import Command, OrderStatus
from shared.contracts import orders as facts
from shared.errors import Code, Refusal


def change_address(order: Order, address: dict[str, Any], taxes: Taxes, act: Act) -> Decision:
    """Of the same person by the same phone, if it names none, as shipping takes it too. Where tax is less, the difference goes back;
    the flat rate of shipping is the same everywhere.

    Raises Refusal INVALID_TRANSITION once a label bears the old one, BAD_INPUT for another country or state whose price is no
    edit's to ask for, ON_HOLD while less was paid than it costs.
    """
    address = address | {
        field: address[field] or order.shipping_address[field] for field in ("name", "phone")
    }
    decision = decide(order, Command.EDIT_ADDRESS, act)
    if decision.refused is not None or address == order.shipping_address:
        return decision
    if order.is_address_fixed:
        raise Refusal(
            Code.INVALID_TRANSITION,
            "Not possible: a label bears the address already",
            status=str(order.status),
            allowed=[str(status) for status in order.next_statuses],
        )
    there = _taxed(order, Destination.of(address), taxes)
    said = facts.OrderAddressChanged(
        **about_order(order), changed_at=act.now, shipping_address=facts.Address(**address)
    )
    entry = noted(order, Command.EDIT_ADDRESS, act)
    moved = Decision(replace(there, shipping_address=address, updated_at=act.now), (said,), (entry,))
    back = min(order.refundable, order.total - there.total)
    return moved.then(request_refund(moved.order, replace(act, amount=back, reason="less tax")))


def _taxed(order: Order, destination: Destination, taxes: Taxes) -> Order:
    """With the tax of the destination, if it is another one. Raises Refusal BAD_INPUT or ON_HOLD."""
    if destination == Destination.of(order.shipping_address):
        return order
    if not order.used_flat_rate:
        raise _another_price("its shipping was quoted for the one that it has")
    goods = [line.quantity * line.unit_price - line.discount for line in order.lines]
    of_goods, of_shipping = taxes.on(goods, order.shipping, destination)
    less = order.tax - sum(of_goods) - of_shipping
    if not less:
        return order
    if less < 0:
        raise _another_price("its tax is higher")
    if order.status is OrderStatus.PENDING:
        raise _another_price("its payment was prepared with the tax of the one that it has")
    if any(line.cancelled or order.refunded_pieces(line.line) for line in order.lines):
        raise _another_price("a part of it was paid back with the tax of the one that it has")
    require_paid_in_full(order)
    lines = tuple(replace(line, tax=tax) for line, tax in zip(order.lines, of_goods, strict=True))
    return replace(order, lines=lines, tax=order.tax - less, total=order.total - less)


def _another_price(why: str) -> Refusal:
    return Refusal(
        Code.BAD_INPUT,
        f"Another country or state is not possible, for {why}: cancel the order and place it anew",
        argument="shippingAddress",
    )
