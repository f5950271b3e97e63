"""Shippo's objects as JSON: ids of 32 hex digits, times as ISO 8601 in UTC, prices as decimal strings in dollars."""

import json
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.shippo.rates import Service

OWNER = "sandbox@ordermesh.test"
ORDER_IN_TEXT = re.compile(r"\border(?:_id)?[:=]\s*([\w-]+)")
Json = dict[str, Any]


def new_id() -> str:
    return secrets.token_hex(16)


def timestamp() -> str:
    return _written(datetime.now(UTC))


def later(at: str, span: timedelta) -> str:
    return _written(datetime.fromisoformat(at) + span)


def _written(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stamped(**fields: Any) -> Json:
    """The fields of an object with Shippo's own: id, owner, times, test mode."""
    at = timestamp()
    own = {
        "object_id": new_id(),
        "object_owner": OWNER,
        "object_created": at,
        "object_updated": at,
        "test": True,
    }
    return own | fields


def order_of(metadata: str) -> str | None:
    """The order named by a metadata string: JSON with `order_id`, or `order_id=...` (also `order:...`) in a text."""
    try:
        parsed = json.loads(metadata)
    except ValueError:
        match = ORDER_IN_TEXT.search(metadata)
        return match[1] if match else None
    order_id = parsed.get("order_id") if isinstance(parsed, dict) else None
    return order_id if isinstance(order_id, str) else None


def shipment(*, address_from: Json, address_to: Json, parcels: list[Json], metadata: str) -> Json:
    return stamped(
        address_from=address_from,
        address_to=address_to,
        address_return=address_from,
        parcels=parcels,
        metadata=metadata,
        carrier_accounts=[],
        customs_declaration=None,
        extra={},
        messages=[],
        rates=[],
        shipment_date=timestamp(),
        status="SUCCESS",
    )


def rate(shipment_id: str, service: Service, amount: str, attributes: list[str]) -> Json:
    level = {"name": service.name, "terms": "", "token": service.token, "extended_token": service.token}
    return stamped(
        amount=amount,
        amount_local=amount,
        currency="USD",
        currency_local="USD",
        attributes=attributes,
        carrier_account=f"sandbox_{service.provider.lower()}",
        duration_terms=f"Delivery in {service.days} business days.",
        estimated_days=service.days,
        messages=[],
        provider=service.provider,
        servicelevel=level,
        shipment=shipment_id,
        zone="4",
    )


def transaction(*, rate_id: str, parcel_id: str, file_type: str, metadata: str, tracking: Json) -> Json:
    """A bought label; `tracking` holds the parcel's number and where to follow it."""
    return stamped(
        object_state="VALID",
        status="SUCCESS",
        created_by=None,
        rate=rate_id,
        parcel=parcel_id,
        label_file_type=file_type,
        metadata=metadata,
        messages=[],
        tracking_status="UNKNOWN",
        **tracking,
    )


def track(*, carrier: str, number: str, metadata: str = "", **known: Any) -> Json:
    """A parcel's tracking page; `known` are the fields that only a label bought here has."""
    return {
        "carrier": carrier,
        "tracking_number": number,
        "address_from": None,
        "address_to": None,
        "eta": None,
        "messages": [],
        "metadata": metadata,
        "original_eta": None,
        "servicelevel": {"name": None, "token": None},
        "test": True,
        "tracking_history": [],
        "tracking_status": None,
        "transaction": None,
    } | known


def scan(status: str, details: str, location: Json | None) -> Json:
    """One line of a tracking history."""
    at = timestamp()
    return {
        "object_created": at,
        "object_updated": at,
        "object_id": new_id(),
        "status": status,
        "status_details": details,
        "status_date": at,
        "substatus": None,
        "location": location,
    }
