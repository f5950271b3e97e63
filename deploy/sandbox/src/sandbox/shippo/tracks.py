"""Tracking: what the carriers have scanned."""

from datetime import timedelta

from sandbox.endpoint import Answer, Call
from sandbox.shippo import objects
from sandbox.shippo.account import Account, Invalid, NotFound
from sandbox.shippo.labels import Labels
from sandbox.shippo.objects import Json
from sandbox.shippo.shipments import metadata_of

DETAILS = {
    "PRE_TRANSIT": "The carrier has received the electronic shipment information.",
    "TRANSIT": "Your shipment has departed from the origin.",
    "DELIVERED": "Your shipment has been delivered.",
    "RETURNED": "Your shipment has been returned to the original sender.",
    "FAILURE": "The carrier could not deliver your shipment.",
}
PLACE = ("city", "state", "zip", "country")


class Tracks:
    def __init__(self, account: Account, labels: Labels) -> None:
        self._account = account
        self._labels = labels

    def register(self, call: Call) -> Answer:
        """Ask for webhooks about a parcel, whoever bought its label. Again for a known parcel changes nothing."""
        carrier, number = call.params.get("carrier"), call.params.get("tracking_number")
        if not isinstance(carrier, str) or not carrier:
            raise Invalid("carrier")
        if not isinstance(number, str) or not number:
            raise Invalid("tracking_number")
        metadata = metadata_of(call.params)
        track = self._load(carrier, number)
        if track is None:
            track = objects.track(carrier=carrier, number=number, metadata=metadata)
            self._keep(track)
        return Answer.json(track)

    def retrieve(self, call: Call) -> Answer:
        """A parcel that nobody knows has no status, as at Shippo."""
        carrier, number = call.parts["carrier"], call.parts["number"]
        return Answer.json(self._load(carrier, number) or objects.track(carrier=carrier, number=number))

    def advance(self, call: Call) -> Answer:
        """A carrier's scan: `status` for the parcel of a `transaction` or with a `tracking_number`. A control call."""
        status = call.params.get("status")
        if status not in DETAILS:
            raise Invalid("status", f"One of {', '.join(DETAILS)} is required.")
        track = self._find(call.params)
        transaction_id = track["transaction"]
        place = (
            track["address_from"] if status in ("PRE_TRANSIT", "TRANSIT", "RETURNED") else track["address_to"]
        )
        scan = objects.scan(status, DETAILS[status], place)
        track["tracking_history"].append(scan)
        track["tracking_status"] = scan
        self._account.state.save("shippo.track", _key(track["carrier"], track["tracking_number"]), track)
        order_id = objects.order_of(track["metadata"])
        if transaction_id is not None:
            transaction = self._account.load("transaction", transaction_id)
            transaction |= {"tracking_status": status, "object_updated": scan["object_created"]}
            self._account.state.save("shippo.transaction", transaction_id, transaction)
            order_id = self._labels.order_of(transaction)
        self._account.effect("track.updated", track["tracking_number"], scan, order_id=order_id)
        self._account.emit("track_updated", track, order_id=order_id)
        return Answer.json(track)

    def _find(self, params: Json) -> Json:
        """The track of a label, made at its first scan; or a registered one. Raises NotFound."""
        if params.get("transaction"):
            transaction = self._account.load("transaction", params["transaction"])
        else:
            number = str(params.get("tracking_number", ""))
            found = self._account.state.find("shippo.transaction", link=("tracking_number", number), limit=1)
            if not found:
                registered = self._account.state.find(
                    "shippo.track", link=("tracking_number", number), limit=1
                )
                if not registered:
                    raise NotFound
                return registered[0]
            transaction = found[0]
        track = self._of_label(transaction)
        known = self._account.state.get("shippo.track", _key(track["carrier"], track["tracking_number"]))
        if known is None:
            self._keep(track)
        return known or track

    def _load(self, carrier: str, number: str) -> Json | None:
        known = self._account.state.get("shippo.track", _key(carrier, number))
        if known is not None:
            return known
        found = self._account.state.find("shippo.transaction", link=("tracking_number", number), limit=1)
        return self._of_label(found[0]) if found else None

    def _keep(self, track: Json) -> None:
        links = {"tracking_number": track["tracking_number"]}
        key = _key(track["carrier"], track["tracking_number"])
        self._account.state.insert("shippo.track", key, track, created=0, links=links)

    def _of_label(self, transaction: Json) -> Json:
        rate = self._account.load("rate", transaction["rate"])
        shipment = self._account.load("shipment", rate["shipment"])
        eta = objects.later(transaction["object_created"], timedelta(days=rate["estimated_days"]))
        return objects.track(
            carrier=rate["provider"].lower(),
            number=transaction["tracking_number"],
            metadata=transaction["metadata"],
            transaction=transaction["object_id"],
            servicelevel={"name": rate["servicelevel"]["name"], "token": rate["servicelevel"]["token"]},
            address_from={name: shipment["address_from"].get(name) for name in PLACE},
            address_to={name: shipment["address_to"].get(name) for name in PLACE},
            eta=eta,
            original_eta=eta,
        )


def _key(carrier: str, number: str) -> str:
    return f"{carrier.lower()}/{number}"
