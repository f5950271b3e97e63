"""What orders says on `order-events`. Amounts in minor units of `currency`, times in UTC.

Contact data (names, email, phone, addresses) travels once, in `order.placed`; no other fact carries it, but for an address
that was changed before fulfilment: `order.address_changed` is all that tells the parcel.
"""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.contracts.envelope import Fact
from shared.contracts.money import Currency, Minor


class Part(BaseModel):
    """A part of a fact: frozen, unknown fields ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Contact(Part):
    name: str
    email: str | None = None
    phone: str | None = None


STATE_NEEDED = frozenset({"AU", "CA", "US"})
"""The countries in which no carrier takes an address without its state."""


class Address(Part):
    """The superset of both seeds' addresses. `country` is ISO 3166-1 alpha-2; `state` may be blank where it is not needed."""

    name: str = ""
    street: str
    street2: str | None = None
    city: str
    state: str
    zip_code: str
    country: str
    phone: str | None = None


class Line(Part):
    """`line` is the line's number within the order, from 1; an item's id is `<order_id>:<line>`."""

    line: int
    sku_id: str
    product_id: str
    name: str
    quantity: int
    unit_price: Minor
    weight_grams: Minor


class LineQuantity(Part):
    line: int
    quantity: int


class OrderFact(Fact):
    """What every fact about an order carries, so that any service can authorise who asks about it."""

    order_id: UUID
    order_number: str
    customer_id: UUID
    partner_id: str | None = None
    currency: Currency


STRIPE, OFFLINE, PARTNER = "stripe", "offline", "partner"
"""How an order is paid: through our provider, to staff, or to the partner whose order it is."""


class OrderPlaced(OrderFact):
    """`shipping_rate_id` is the carrier's offer that the shopper chose (a signed quote), `shipping_service` its name."""

    type: ClassVar[str] = "order.placed"

    placed_at: datetime
    lines: tuple[Line, ...]
    total: Minor
    payment_method: str
    contact: Contact
    shipping_address: Address
    shipping_rate_id: str | None = None
    shipping_service: str | None = None


class OrderPaid(OrderFact):
    """The order may be fulfilled: `lines` are the quantities still wanted."""

    type: ClassVar[str] = "order.paid"

    paid_at: datetime
    amount: Minor
    method: str
    lines: tuple[LineQuantity, ...]


class OrderPaymentFailed(OrderFact):
    """A payment was declined; the shopper may try again unless `final`. `code` is the provider's decline code.

    `final`: the provider takes no payment for this order at all, so there is nothing to try again.
    """

    type: ClassVar[str] = "order.payment_failed"

    failed_at: datetime
    code: str
    final: bool = False


class OrderRefundRequested(OrderFact):
    """`amount` has to go back to the shopper; `refund_id` names this refund for good."""

    type: ClassVar[str] = "order.refund_requested"

    refund_id: UUID
    requested_at: datetime
    amount: Minor
    reason: str


class OrderRefunded(OrderFact):
    """`amount` went back; `refunded_total` is all that went back so far."""

    type: ClassVar[str] = "order.refunded"

    refund_id: UUID
    refunded_at: datetime
    amount: Minor
    refunded_total: Minor


class OrderShipped(OrderFact):
    """Every live item was handed to a courier; the tracking is the latest dispatched shipment's."""

    type: ClassVar[str] = "order.shipped"

    shipped_at: datetime
    carrier: str
    tracking_number: str
    tracking_url: str | None = None


class OrderDelivered(OrderFact):
    type: ClassVar[str] = "order.delivered"

    delivered_at: datetime


class OrderReturned(OrderFact):
    type: ClassVar[str] = "order.returned"

    returned_at: datetime


class OrderCancelled(OrderFact):
    """`reason` is `expired` for an order that nobody paid in time."""

    type: ClassVar[str] = "order.cancelled"

    cancelled_at: datetime
    reason: str


class OrderItemsCancelled(OrderFact):
    """`lines` are the quantities that are wanted no more; the order goes on with the rest."""

    type: ClassVar[str] = "order.items_cancelled"

    cancelled_at: datetime
    lines: tuple[LineQuantity, ...]
    reason: str


class OrderAddressChanged(OrderFact):
    """The parcel goes elsewhere; said only while no label was bought."""

    type: ClassVar[str] = "order.address_changed"

    changed_at: datetime
    shipping_address: Address


class OrderHandedOver(OrderFact):
    """Staff gave `lines` to a courier by hand, outside of shipping: what shipping has prepared of the order is void."""

    type: ClassVar[str] = "order.handed_over"

    handed_over_at: datetime
    lines: tuple[LineQuantity, ...]
    carrier: str
    tracking_number: str
    tracking_url: str | None = None


class OrderHeld(OrderFact):
    """Paid, but it must not go out: no label is bought until `order.released`. `deadline` is when the hold ends by itself."""

    type: ClassVar[str] = "order.held"

    hold_id: UUID
    held_at: datetime
    reason: str
    deadline: datetime | None = None


class OrderReleased(OrderFact):
    """This hold is over; the order may go out when none is left."""

    type: ClassVar[str] = "order.released"

    hold_id: UUID
    released_at: datetime
