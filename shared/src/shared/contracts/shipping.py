"""What shipping says on `shipment-events`. Costs in minor units of `currency`, times in UTC."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from shared.contracts.envelope import Fact
from shared.contracts.money import Currency, Minor
from shared.contracts.orders import LineQuantity


class ShipmentFact(Fact):
    """`lines` are the quantities in this shipment."""

    order_id: UUID
    shipment_id: UUID
    lines: tuple[LineQuantity, ...]


class ShipmentPrepared(ShipmentFact):
    type: ClassVar[str] = "shipment.prepared"


class ShipmentLabelled(ShipmentFact):
    """A label was bought, or packing began: from here the items are in fulfilment.

    `provider_rate_id` is the rate that it was bought at, `provider_shipment_id` what that rate was made for.
    """

    type: ClassVar[str] = "shipment.labelled"

    carrier: str
    service: str
    tracking_number: str
    tracking_url: str | None = None
    label_url: str | None = None
    cost: Minor
    currency: Currency
    labelled_at: datetime
    provider_shipment_id: str | None = None
    provider_rate_id: str | None = None


class ShipmentVoided(ShipmentFact):
    """The shipment will not go out; its label's `refunded_cost` comes back."""

    type: ClassVar[str] = "shipment.voided"

    refunded_cost: Minor = 0
    voided_at: datetime


class ShipmentDispatched(ShipmentFact):
    """Handed to the courier: the first carrier scan, or staff's word."""

    type: ClassVar[str] = "shipment.dispatched"

    carrier: str
    tracking_number: str
    tracking_url: str | None = None
    dispatched_at: datetime


class ShipmentDelivered(ShipmentFact):
    type: ClassVar[str] = "shipment.delivered"

    delivered_at: datetime


class ShipmentReturned(ShipmentFact):
    type: ClassVar[str] = "shipment.returned"

    returned_at: datetime


class ShipmentFailed(ShipmentFact):
    """No label could be bought, or the carrier lost it: a person has to look."""

    type: ClassVar[str] = "shipment.failed"

    reason: str
    failed_at: datetime
