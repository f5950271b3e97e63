"""Who acts on which order: the locked order, if the caller may act on it; otherwise it is as good as not there."""

from orders.domain import Order
from orders.store import ORDERS
from shared.auth import Principal
from shared.errors import Code, Refusal
from shared.tx import Tx
from shared.visibility import may_see


def actor_of(principal: Principal) -> str:
    return f"{principal.role}:{principal.subject}"


def not_found() -> Refusal:
    return Refusal(Code.ORDER_NOT_FOUND, "Order not found")


def mine(order_id: str, principal: Principal, tx: Tx) -> Order:
    """Raises Refusal ORDER_NOT_FOUND."""
    order = tx.find(ORDERS, order_id)
    if order is None or not may_see(principal, order):
        raise not_found()
    return order
