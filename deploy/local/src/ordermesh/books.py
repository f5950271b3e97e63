"""Do the books agree? What Stripe, Shippo and the mail server saw, against what the orders say."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ordermesh.shop import Reading, Shop


@dataclass(frozen=True)
class Check:
    """One comparison: what was compared, the two figures, and whether they are equal."""

    what: str
    ours: str
    theirs: str

    @property
    def holds(self) -> bool:
        return self.ours == self.theirs


async def effects(shop: Shop) -> list[Reading]:
    """The providers' whole record, oldest first."""
    found: list[Reading] = []
    while True:
        since = found[-1]["seq"] if found else 0
        page = await shop.sandbox("GET", f"/control/effects?since={since}&limit=500")
        if not page["effects"]:
            return found
        found += page["effects"]


async def checks(shop: Shop, orders: Sequence[Reading]) -> list[Check]:
    """Compare the record with these orders, as they stand now; effects of other orders are left out."""
    ids = {order["id"] for order in orders}
    record = await effects(shop)
    seen = [effect for effect in record if effect["order_id"] in ids]
    return [
        _money(orders, seen),
        *_labels(orders, seen),
        _messages(orders, record, "EMAIL", "smtp.message"),
        _messages(orders, record, "SMS", "twilio.message.sent"),
    ]


def _money(orders: Sequence[Reading], seen: Sequence[Reading]) -> Check:
    payments = [order["payment"] for order in orders]
    ours = sum(payment["capturedAmount"] - payment["refundedAmount"] for payment in payments)
    captured = sum(e["amount"] for e in seen if e["kind"] == "stripe.charge.succeeded")
    refunded = sum(e["amount"] for e in seen if e["kind"] == "stripe.refund.succeeded")
    return Check("orders' captures - refunds = Stripe's", f"{ours:.2f}", f"{(captured - refunded) / 100:.2f}")


def _labels(orders: Sequence[Reading], seen: Sequence[Reading]) -> list[Check]:
    bought = Counter(e["order_id"] for e in seen if e["kind"] == "shippo.label.purchased")
    bought.subtract(e["order_id"] for e in seen if e["kind"] == "shippo.label.refunded")
    with_label = {"LABELLED", "DISPATCHED", "DELIVERED", "RETURNED"}
    live = {
        order["id"]: sum(shipment["status"] in with_label for shipment in order["shipments"] or ())
        for order in orders
    }
    theirs = {order_id: bought.get(order_id, 0) for order_id in live}
    agree = sum(live[order_id] == theirs[order_id] for order_id in live)
    return [
        Check("one live label per shipment (orders that agree)", str(len(live)), str(agree)),
        Check("live labels", str(sum(live.values())), str(sum(theirs.values()))),
    ]


def _messages(orders: Sequence[Reading], record: Sequence[Reading], channel: str, kind: str) -> Check:
    """Every message names its order: as many went out as the orders list as sent, none twice, none missing."""
    numbers = {order["orderNumber"] for order in orders}
    sent = sum(
        notification["channel"] == channel and notification["status"] == "SENT"
        for order in orders
        for notification in order["notifications"] or ()
    )
    bodies = [str(effect["payload"]) for effect in record if effect["kind"] == kind]
    out = sum(any(number in body for number in numbers) for body in bodies)
    return Check(f"{channel} messages, each once", str(sent), str(out))
