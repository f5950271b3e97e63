"""Shipments: where from, where to, what; answered with rates."""

from typing import Any

from sandbox.endpoint import Answer, Call
from sandbox.shippo import objects
from sandbox.shippo.account import Account, Invalid
from sandbox.shippo.objects import Json
from sandbox.shippo.rates import pounds, quotes

NOWHERE = "00000"  # a ZIP code that no carrier serves
ADDRESS = ("name", "street1", "city", "zip", "country")
PARCEL = ("length", "width", "height", "distance_unit", "weight", "mass_unit")
MAX_METADATA = 100


def metadata_of(params: Json) -> str:
    metadata = params.get("metadata") or ""
    if not isinstance(metadata, str) or len(metadata) > MAX_METADATA:
        raise Invalid("metadata", f"Ensure this field is a string of no more than {MAX_METADATA} characters.")
    return metadata


class Shipments:
    def __init__(self, account: Account) -> None:
        self._account = account

    def create(self, call: Call) -> Answer:
        params = call.params
        shipment = objects.shipment(
            address_from=_address(params, "address_from"),
            address_to=_address(params, "address_to"),
            parcels=_parcels(params),
            metadata=metadata_of(params),
        )
        if shipment["address_to"]["zip"] == NOWHERE:
            text = "No rates are available for this destination."
            shipment["messages"] = [{"source": name, "code": "", "text": text} for name in ("USPS", "UPS")]
        else:
            shipment["rates"] = self._rates(shipment)
        self._account.state.insert("shippo.shipment", shipment["object_id"], shipment, created=0)
        order_id = objects.order_of(shipment["metadata"])
        self._account.effect("shipment.created", shipment["object_id"], shipment, order_id=order_id)
        return Answer.json(shipment, 201)

    def retrieve(self, call: Call) -> Answer:
        return Answer.json(self._account.load("shipment", call.parts["id"]))

    def page(self, call: Call) -> Answer:
        return self._account.page("shipment", call.params)

    def rates(self, call: Call) -> Answer:
        rates = self._account.load("shipment", call.parts["id"])["rates"]
        return Answer.json({"next": None, "previous": None, "results": rates})

    def retrieve_rate(self, call: Call) -> Answer:
        return Answer.json(self._account.load("rate", call.parts["id"]))

    def _rates(self, shipment: Json) -> list[Json]:
        origin, destination = (
            str(shipment[end]["country"]).upper() for end in ("address_from", "address_to")
        )
        try:
            weight = pounds(shipment["parcels"])
        except (ArithmeticError, KeyError):
            raise Invalid(
                "parcels", "Enter a weight up to 150 lb and a mass unit of lb, oz, kg or g."
            ) from None
        found = []
        for service, amount, attributes in quotes(weight, domestic=origin == destination):
            rate = objects.rate(shipment["object_id"], service, amount, attributes)
            self._account.state.insert("shippo.rate", rate["object_id"], rate, created=0)
            found.append(rate)
        return found


def _address(params: Json, field: str) -> Json:
    given: Any = params.get(field)
    if not isinstance(given, dict):
        raise Invalid(field, "An address object is required; the sandbox keeps no address book.")
    for name in ADDRESS:
        if not given.get(name):
            raise Invalid(field, f"{name}: This field is required.")
    return objects.stamped(is_complete=True, validation_results={}) | given


def _parcels(params: Json) -> list[Json]:
    given: Any = params.get("parcels")
    given = [given] if isinstance(given, dict) else given
    if not isinstance(given, list) or not given:
        raise Invalid("parcels")
    for parcel in given:
        missing = [name for name in PARCEL if not isinstance(parcel, dict) or not parcel.get(name)]
        if missing:
            raise Invalid("parcels", f"{missing[0]}: This field is required.")
    return [
        objects.stamped(object_state="VALID", extra={}, metadata="", template=None) | parcel
        for parcel in given
    ]
