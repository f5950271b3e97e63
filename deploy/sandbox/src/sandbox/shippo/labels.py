"""Labels: buying one (a "transaction"), printing it, giving it back unused."""

import secrets
from datetime import UTC, datetime, timedelta

from sandbox.endpoint import Answer, Call
from sandbox.pdf import label
from sandbox.shippo import objects
from sandbox.shippo.account import Account, Invalid
from sandbox.shippo.objects import Json
from sandbox.shippo.shipments import metadata_of

RATES_LIVE = timedelta(days=7)
UNUSED = ("UNKNOWN", "PRE_TRANSIT")
FILE_TYPES = (
    "PDF",
    "PDF_4x6",
    "PDF_4x8",
    "PDF_A4",
    "PDF_A5",
    "PDF_A6",
    "PDF_2.3x7.5",
    "PNG",
    "PNG_2.3x7.5",
    "ZPLII",
)
TRACKING_PAGES = {
    "USPS": "https://tools.usps.com/go/TrackConfirmAction?tLabels=",
    "UPS": "https://www.ups.com/track?tracknum=",
}


class Labels:
    def __init__(self, account: Account) -> None:
        self._account = account

    def buy(self, call: Call) -> Answer:
        """Every call buys: two calls with one rate are two labels."""
        rate_id = call.params.get("rate")
        if not isinstance(rate_id, str) or not rate_id:
            raise Invalid("rate", "This field is required; the sandbox sells no instant labels.")
        rate = self._account.state.get("shippo.rate", rate_id)
        if rate is None:
            raise Invalid("rate", f"Rate with supplied object_id {rate_id} not found.")
        if datetime.now(UTC) - datetime.fromisoformat(rate["object_created"]) > RATES_LIVE:
            raise Invalid("rate", "Rates can be purchased for 7 days only. Create a new shipment.")
        file_type = call.params.get("label_file_type") or "PDF"
        if file_type not in FILE_TYPES:
            raise Invalid("label_file_type", f"{file_type} is not a valid choice.")
        transaction = self._buy(rate, file_type, metadata_of(call.params), call.origin)
        return Answer.json(transaction, 201)

    def retrieve(self, call: Call) -> Answer:
        return Answer.json(self._account.load("transaction", call.parts["id"]))

    def page(self, call: Call) -> Answer:
        rate_id = call.params.get("rate")
        return self._account.page("transaction", call.params, link=("rate", rate_id) if rate_id else None)

    def print(self, call: Call) -> Answer:
        """The PDF, for everyone who knows its URL, as at Shippo."""
        transaction = self._account.load("transaction", call.parts["id"])
        shipment = self._shipment(transaction)
        rate = self._account.load("rate", transaction["rate"])
        lines = ["SANDBOX - NOT POSTAGE", f"{rate['provider']} {rate['servicelevel']['name']}", "", "FROM"]
        lines += [*_printed(shipment["address_from"]), "", "TO", *_printed(shipment["address_to"]), ""]
        lines += [f"TRACKING {transaction['tracking_number']}", f"LABEL {transaction['object_id']}"]
        return Answer(200, label(lines), "application/pdf")

    def refund(self, call: Call) -> Answer:
        """SUCCESS for an unused label; ERROR, and nothing given back, once a carrier has scanned it."""
        transaction_id = call.params.get("transaction")
        if not isinstance(transaction_id, str) or not transaction_id:
            raise Invalid("transaction")
        transaction = self._account.state.get("shippo.transaction", transaction_id)
        if transaction is None:
            raise Invalid("transaction", "Transaction not found.")
        if transaction["status"] == "REFUNDED":
            raise Invalid("transaction", "This transaction has already been refunded.")
        unused = transaction["tracking_status"] in UNUSED
        refund = objects.stamped(transaction=transaction_id, status="SUCCESS" if unused else "ERROR")
        self._account.state.insert("shippo.refund", refund["object_id"], refund, created=0)
        if unused:
            transaction |= {"status": "REFUNDED", "object_updated": objects.timestamp()}
            self._account.state.save("shippo.transaction", transaction_id, transaction)
            rate = self._account.load("rate", transaction["rate"])
            order_id = self.order_of(transaction)
            self._account.effect("label.refunded", transaction_id, refund, order_id=order_id, price=rate)
            self._account.emit("transaction_updated", transaction, order_id=order_id)
        return Answer.json(refund, 201)

    def retrieve_refund(self, call: Call) -> Answer:
        return Answer.json(self._account.load("refund", call.parts["id"]))

    def page_refunds(self, call: Call) -> Answer:
        return self._account.page("refund", call.params)

    def order_of(self, transaction: Json) -> str | None:
        """The order that the label's metadata names, or that of its shipment."""
        own = objects.order_of(transaction["metadata"])
        return own or objects.order_of(self._shipment(transaction)["metadata"])

    def _shipment(self, transaction: Json) -> Json:
        rate = self._account.load("rate", transaction["rate"])
        return self._account.load("shipment", rate["shipment"])

    def _buy(self, rate: Json, file_type: str, metadata: str, origin: str) -> Json:
        shipment = self._account.load("shipment", rate["shipment"])
        number = _tracking_number(rate["provider"])
        tracking = {
            "tracking_number": number,
            "tracking_url_provider": TRACKING_PAGES[rate["provider"]] + number,
        }
        transaction = objects.transaction(
            rate_id=rate["object_id"],
            parcel_id=shipment["parcels"][0]["object_id"],
            file_type=file_type,
            metadata=metadata,
            tracking=tracking,
        )
        transaction["label_url"] = f"{origin}/shippo/labels/{transaction['object_id']}.pdf"
        links = {"rate": rate["object_id"], "tracking_number": number}
        self._account.state.insert(
            "shippo.transaction", transaction["object_id"], transaction, created=0, links=links
        )
        order_id = self.order_of(transaction)
        self._account.effect(
            "label.purchased", transaction["object_id"], transaction, order_id=order_id, price=rate
        )
        self._account.emit("transaction_created", transaction, order_id=order_id)
        return transaction


def _tracking_number(provider: str) -> str:
    """Shaped like the carrier's own: 22 digits for USPS, 1Z and 16 characters for UPS."""
    if provider == "UPS":
        return f"1Z{secrets.token_hex(8).upper()}"
    return f"92{secrets.randbelow(10**20):020d}"


def _printed(address: Json) -> list[str]:
    place = " ".join(str(address.get(name) or "") for name in ("city", "state", "zip"))
    lines = [address["name"], address["street1"], address.get("street2"), place, address["country"]]
    return [str(line) for line in lines if line]
