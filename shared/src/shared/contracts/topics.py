"""Who says what on which topic, and who hears it. A test holds this table against what the services really do.

`partitions` is fixed for life: another number would send a key to another partition and break its order.
"""

from dataclasses import dataclass

from shared.contracts import catalog, orders, payments, shipping
from shared.contracts.envelope import Fact


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: who says its facts, the consuming services, the facts on it, and how long the broker keeps them (days)."""

    name: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    facts: tuple[type[Fact], ...]
    partitions: int = 6
    retention_days: int = 7


ORDER_EVENTS = Topic(
    name="order-events",
    producers=("orders",),
    consumers=("payments", "shipping", "notifications"),
    facts=(
        orders.OrderPlaced,
        orders.OrderPaid,
        orders.OrderPaymentFailed,
        orders.OrderRefundRequested,
        orders.OrderRefunded,
        orders.OrderShipped,
        orders.OrderDelivered,
        orders.OrderReturned,
        orders.OrderCancelled,
        orders.OrderItemsCancelled,
        orders.OrderAddressChanged,
        orders.OrderHandedOver,
        orders.OrderHeld,
        orders.OrderReleased,
    ),
)
PAYMENT_EVENTS = Topic(
    name="payment-events",
    producers=("payments",),
    consumers=("orders", "notifications"),
    facts=(
        payments.PaymentReady,
        payments.PaymentProcessing,
        payments.PaymentFailed,
        payments.PaymentCaptured,
        payments.PaymentFeeRecorded,
        payments.PaymentSettled,
        payments.PaymentRefunded,
        payments.PaymentRefundFailed,
        payments.PaymentCancelled,
    ),
)
SHIPMENT_EVENTS = Topic(
    name="shipment-events",
    producers=("shipping",),
    consumers=("orders", "notifications"),
    facts=(
        shipping.ShipmentPrepared,
        shipping.ShipmentLabelled,
        shipping.ShipmentVoided,
        shipping.ShipmentDispatched,
        shipping.ShipmentDelivered,
        shipping.ShipmentReturned,
        shipping.ShipmentFailed,
    ),
)
CATALOG_SKUS = Topic(
    name="catalog-skus",
    producers=("shop", "orders"),
    consumers=("orders", "shipping"),
    facts=(catalog.SkuListed,),
    partitions=3,
)

TOPICS: tuple[Topic, ...] = (ORDER_EVENTS, PAYMENT_EVENTS, SHIPMENT_EVENTS, CATALOG_SKUS)


def topic_of(fact: type[Fact]) -> Topic:
    """The topic that carries this fact. Raises LookupError for a fact that no topic declares."""
    for topic in TOPICS:
        if fact in topic.facts:
            return topic
    raise LookupError(f"{fact.__name__} is on no topic")
