"""Do the books agree? Every promise that can be checked from the outside, order by order, against what the providers saw.

One checker for the demo, the system tests and the fault harness. It judges `evidence` and nothing else, so that each rule
can be shown a lie and be seen to notice it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import orjson

from notifications.messages import OCCASIONS
from ordermesh.evidence import Evidence, Row
from ordermesh.shop import Reading

WITH_LABEL = {"LABELLED", "DISPATCHED", "DELIVERED", "RETURNED"}
CHANNELS = {
    fact.type: [template.channel.value for template in occasion.templates]
    for fact, occasion in OCCASIONS.items()
}
ALERTS = {
    fact.type: template.paragraphs[0].replace("{{ number }}", "{}").partition("{{")[0]
    for fact, occasion in OCCASIONS.items()
    for template in occasion.templates
    if template.channel.value == "SLACK"
}
"""How the alert of a fact begins, `{}` being the order's number; no two begin alike."""


@dataclass(frozen=True)
class Violation:
    """A broken promise about one order ("" when it is about none)."""

    rule: str
    order_id: str
    what: str

    def __str__(self) -> str:
        return (
            f"{self.rule}: order {self.order_id}: {self.what}"
            if self.order_id
            else f"{self.rule}: {self.what}"
        )


@dataclass(frozen=True)
class Check:
    """One rule over all orders: what was compared, the two sums, and who breaks it."""

    what: str
    ours: str
    theirs: str
    violations: tuple[Violation, ...]

    @property
    def holds(self) -> bool:
        return not self.violations


class Book:
    """The evidence about some orders; effects of other orders are left out. `repeats`: whether faults may have doubled emails."""

    def __init__(
        self, evidence: Evidence, order_ids: Iterable[str] | None = None, *, repeats: bool = False
    ) -> None:
        self.evidence, self.repeats = evidence, repeats
        self.is_whole = order_ids is None
        wanted = evidence.orders if order_ids is None else order_ids
        self.orders = {
            order_id: evidence.orders[order_id] for order_id in wanted if order_id in evidence.orders
        }
        self.numbers = {order["order_number"]: order_id for order_id, order in self.orders.items()}
        self.notifications = [n for order_id in self.orders for n in evidence.notifications.get(order_id, ())]

    def concerns(self, key: str | None) -> bool:
        """Whether what has this key is this book's affair: everything is of the whole one's, also what names no order."""
        return self.is_whole or key in self.orders

    def effects(self, kind: str) -> dict[str, list[Reading]]:
        """By order, for those kinds that name theirs."""
        found: dict[str, list[Reading]] = {order_id: [] for order_id in self.orders}
        for effect in self.evidence.effects:
            if effect["kind"] == kind and effect["order_id"] in found:
                found[effect["order_id"]].append(effect)
        return found

    def messages(self, channel: str, kind: str) -> tuple[list[Row], list[Reading]]:
        """What we say was sent by a channel, and what its provider took: every message names its order's number."""
        ours = [n for n in self.notifications if n["channel"] == channel]
        theirs = [e for e in self.evidence.effects if e["kind"] == kind and self._named(str(e["payload"]))]
        return ours, theirs

    def _named(self, body: str) -> bool:
        return any(number in body for number in self.numbers)


Rule = Callable[[Book], Check]


def checks(book: Book) -> list[Check]:
    """Every rule, judged."""
    return [rule(book) for rule in RULES]


def violations(book: Book) -> list[Violation]:
    """Every broken promise, in the order of the rules."""
    return [violation for check in checks(book) for violation in check.violations]


def _check(what: str, ours: object, theirs: object, broken: Iterable[tuple[str, str]]) -> Check:
    return Check(what, str(ours), str(theirs), tuple(Violation(what, *each) for each in broken))


def _everybody_knows(book: Book) -> Check:
    evidence = book.evidence
    others = {
        "payments": evidence.payments,
        "shipping": evidence.consignments,
        "notifications": evidence.contacts,
    }
    missing = [
        (order_id, f"{who} has never heard of it")
        for who, rows in others.items()
        for order_id in book.orders
        if order_id not in rows
    ]
    return _check(
        "orders that every service knows", len(book.orders), len(book.orders) - len(missing), missing
    )


def _captures(book: Book) -> Check:
    """By card at most once, of the whole amount (an edit may cost less later, never more); with what staff took, all name the same sum."""
    charges, placed = book.effects("stripe.charge.succeeded"), book.evidence.placed

    def broken() -> Iterator[tuple[str, str]]:
        for order_id, order in book.orders.items():
            amounts = [charge["amount"] for charge in charges[order_id]]
            payment = book.evidence.payments.get(order_id, {})
            known = (order["captured"], payment.get("captured_amount"))
            cost, costs = placed.get(order_id), order["total"]
            outside = payment.get("external_amount", 0)
            if len(amounts) > 1:
                yield order_id, f"captured {len(amounts)} times: {amounts}"
            elif set(known) != {sum(amounts) + outside}:
                yield (
                    order_id,
                    f"captured: orders {known[0]}, payments {known[1]}, Stripe {sum(amounts)}, staff {outside}",
                )
            elif amounts and not costs <= amounts[0] == cost:
                yield order_id, f"captured {amounts[0]} of {cost}; now it costs {costs}"

    ours = sum(order["captured"] for order in book.orders.values())
    outside = sum(
        book.evidence.payments.get(order_id, {}).get("external_amount", 0) for order_id in book.orders
    )
    theirs = _sum(charges) + outside
    return _check("captured = Stripe's charges, each once", _money(ours), _money(theirs), broken())


def _refunds(book: Book) -> Check:
    """What the bank sent back has not been refunded, although Stripe said so at first."""
    done, sent_back = book.effects("stripe.refund.succeeded"), book.effects("stripe.refund.failed")
    failed = {effect["resource"] for found in sent_back.values() for effect in found}
    refunds = {key: [each for each in found if each["resource"] not in failed] for key, found in done.items()}

    def broken() -> Iterator[tuple[str, str]]:
        for order_id, order in book.orders.items():
            theirs = sum(refund["amount"] for refund in refunds[order_id]) + _handed_back(book, order_id)
            payment = book.evidence.payments.get(order_id, {})
            known = (order["refunded"], payment.get("refunded_amount"))
            if set(known) != {theirs}:
                yield order_id, f"refunded: orders {known[0]}, payments {known[1]}, Stripe and staff {theirs}"

    ours = sum(order["refunded"] for order in book.orders.values())
    theirs = _sum(refunds) + sum(_handed_back(book, order_id) for order_id in book.orders)
    return _check("refunded = Stripe's refunds", _money(ours), _money(theirs), broken())


def _handed_back(book: Book, order_id: str) -> int:
    """What staff have confirmed that the shopper got outside of Stripe."""
    refunds = book.evidence.refunds.get(order_id, ())
    return sum(refund["amount"] for refund in refunds if refund.get("handed_back_at"))


def _nothing_kept(book: Book) -> Check:
    cancelled = {order_id: order for order_id, order in book.orders.items() if order["status"] == "CANCELLED"}
    kept = [
        (order_id, f"cancelled, and {order['captured'] - order['refunded']} kept")
        for order_id, order in cancelled.items()
        if order["captured"] != order["refunded"]
    ]
    return _check("cancelled orders whose money went back", len(cancelled), len(cancelled) - len(kept), kept)


def _settled(book: Book) -> Check:
    """COMPLETED is what our provider has available for us, unless money went back or staff took it."""
    known = {
        order_id: (order["settled_at"], book.evidence.payments.get(order_id, {}).get("settled_at"))
        for order_id, order in book.orders.items()
    }

    def broken() -> Iterator[tuple[str, str]]:
        for order_id, order in book.orders.items():
            ours, theirs = known[order_id]
            is_completed = bool(ours) and not order["refunded"] and order["payment_method"] != "offline"
            if ours != theirs:
                yield order_id, f"settled: orders {ours}, payments {theirs}"
            elif is_completed != (order["payment_status"] == "COMPLETED"):
                yield order_id, f"settled {ours}, refunded {order['refunded']}: {order['payment_status']}"

    counted = [sum(times[of] is not None for times in known.values()) for of in (0, 1)]
    return _check("settled = what payments saw available", counted[0], counted[1], broken())


def _labels(book: Book) -> Check:
    """One live label for each shipment that has one: what was bought beside it went back."""
    bought, returned = book.effects("shippo.label.purchased"), book.effects("shippo.label.refunded")

    def live(order_id: str) -> set[str]:
        gone = {effect["resource"] for effect in returned[order_id]}
        return {effect["resource"] for effect in bought[order_id]} - gone

    def ours(order_id: str) -> set[str]:
        shipments = book.evidence.shipments.get(order_id, ())
        return {s["transaction_id"] for s in shipments if s["status"] in WITH_LABEL and s["transaction_id"]}

    broken = [
        (order_id, f"live labels: shipping {sorted(ours(order_id))}, Shippo {sorted(live(order_id))}")
        for order_id in book.orders
        if ours(order_id) != live(order_id)
    ]
    counted = [sum(len(labels(order_id)) for order_id in book.orders) for labels in (ours, live)]
    return _check("live labels = Shippo's, one a shipment", counted[0], counted[1], broken)


def _emails(book: Book) -> Check:
    """At least once; once, where nothing went wrong."""
    ours, theirs = book.messages("EMAIL", "smtp.message")
    taken = Counter(effect["resource"].strip("<>").partition("@")[0] for effect in theirs)
    sent = [n for n in ours if n["status"] == "SENT"]
    broken = [
        (str(n["order_id"]), f"email {n['template']}: the mail server has it {taken[str(n['id'])]} times")
        for n in sent
        if taken[str(n["id"])] < 1 or (taken[str(n["id"])] > 1 and not book.repeats)
    ]
    return _check("emails sent, none missing", len(sent), len(taken), broken)


def _sms(book: Book) -> Check:
    """At most once, whatever went wrong; what is called sent was sent."""
    ours, theirs = book.messages("SMS", "twilio.message.sent")
    taken = {effect["resource"] for effect in theirs}
    copies = Counter((effect["recipient"], str(effect["payload"].get("body"))) for effect in theirs)
    sent = [n for n in ours if n["status"] == "SENT"]
    broken = [
        (str(n["order_id"]), f"SMS {n['template']} never reached Twilio")
        for n in sent
        if n["provider_id"] not in taken
    ]
    broken += [
        ("", f"{count} times the same SMS: {body!r}") for (_, body), count in copies.items() if count > 1
    ]
    return _check("SMS sent, none twice", len(sent), len(taken), broken)


def _alerts(book: Book) -> Check:
    """At least once each. A post holds many alerts: each is found by its own words, and by its number, or by its order's id
    where that was not known yet.
    """
    posts = [e["payload"] for e in book.evidence.effects if e["kind"] == "slack.message"]
    told = "\n".join(str(post.get("text")) for post in posts)
    sent = [n for n in book.notifications if n["channel"] == "SLACK" and n["status"] == "SENT"]
    by_id = {order_id: number for number, order_id in book.numbers.items()}
    due = Counter((str(n["order_id"]), n["template"]) for n in sent)
    there = {
        (order_id, type_): min(
            count, sum(told.count(ALERTS[type_].format(name)) for name in (by_id[order_id], order_id))
        )
        for (order_id, type_), count in due.items()
    }
    broken = [
        (order_id, f"{count} alerts {type_} went out, Slack has {there[order_id, type_]} of them")
        for (order_id, type_), count in due.items()
        if there[order_id, type_] < count
    ]
    return _check("alerts sent, none missing", len(sent), sum(there.values()), broken)


def _every_message_went_out(book: Book) -> Check:
    """A message whose fate nobody can know is UNKNOWN, which only an SMS may be."""
    fine = {"EMAIL": {"SENT", "SKIPPED"}, "SMS": {"SENT", "SKIPPED", "UNKNOWN"}, "SLACK": {"SENT", "SKIPPED"}}
    broken = [
        (str(n["order_id"]), f"{n['channel']} {n['template']} is {n['status']}: {n['failure_reason']}")
        for n in book.notifications
        if n["status"] not in fine[n["channel"]]
    ]
    return _check(
        "messages noted, and gone out", len(book.notifications), len(book.notifications) - len(broken), broken
    )


def _every_occasion_was_told(book: Book) -> Check:
    """Whatever happened to an order has its messages, by each channel that its occasion names: once, or each time, as it says."""
    occasions = {fact.type: occasion for fact, occasion in OCCASIONS.items()}
    happened = {
        (fact["key"], fact["type"], occasions[fact["type"]].repeat_of(orjson.loads(fact["body"])))
        for fact in book.evidence.facts
        if fact["type"] in occasions and fact["key"] in book.orders
    }
    due = Counter(
        (order_id, type_, channel) for order_id, type_, _ in happened for channel in CHANNELS[type_]
    )
    told = Counter((str(n["order_id"]), str(n["template"]), str(n["channel"])) for n in book.notifications)
    broken = [
        (each[0], f"{each[1]} is to be told by {each[2]} {due[each]} times, and was {told[each]} times")
        for each in due.keys() | told.keys()
        if told[each] != due[each]
    ]
    return _check("occasions, and told", due.total(), told.total(), broken)


def _timelines(book: Book) -> Check:
    """Each entry begins where the one before ended, and the last is where the order is."""

    def broken() -> Iterator[tuple[str, str]]:
        for order_id, order in book.orders.items():
            entries = book.evidence.timeline.get(order_id, [])
            steps = [entry["to_status"] for entry in entries]
            starts = [entry["from_status"] for entry in entries[1:]]
            if starts != steps[:-1] or steps[-1:] != [order["status"]]:
                yield (
                    order_id,
                    f"its timeline {list(zip(starts, steps[1:], strict=False))} does not lead to {order['status']}",
                )

    found = list(broken())
    return _check("timelines without a gap", len(book.orders), len(book.orders) - len(found), found)


def _nothing_lies_about(book: Book) -> Check:
    """Nothing unsent or undone anywhere, and nothing about these orders given up or held back."""
    waiting = [("", f"{count} in {place}") for place, count in book.evidence.in_flight.items()]
    failed = [
        (job["key"], f"{job['service']} gave {job['kind']} up: {job['last_error']}")
        for job in book.evidence.jobs
        if job["state"] == "failed" and book.concerns(job["key"])
    ]
    dead = [
        (
            letter["aggregate_key"] or "",
            f"{letter['service']} buried {letter['topic']} {letter['offset']}: {letter['reason']}",
        )
        for letter in book.evidence.dead_letters
        if book.concerns(letter["aggregate_key"])
    ]
    broken = [*dead, *failed, *waiting]
    return _check("left unsent, undone, buried", len(broken), 0, broken)


RULES: tuple[Rule, ...] = (
    _nothing_lies_about,
    _everybody_knows,
    _captures,
    _refunds,
    _nothing_kept,
    _settled,
    _labels,
    _emails,
    _sms,
    _alerts,
    _every_message_went_out,
    _every_occasion_was_told,
    _timelines,
)


def _sum(effects: dict[str, list[Reading]]) -> int:
    return sum(effect["amount"] for found in effects.values() for effect in found)


def _money(minor: int) -> str:
    return f"{minor / 100:.2f}"
