"""The checker of the books: it finds nothing in an order that went well, and each rule notices its own lie."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any
from uuid import UUID

import orjson
import pytest

from ordermesh.books import ALERTS, RULES, Book, checks, violations
from ordermesh.evidence import Evidence
from ordermesh.history import history

ORDER = "01890000-0000-7000-8000-000000000001"
MAIL, ALERT, MAIL_2, SMS, ALERT_2 = (f"01890000-0000-7000-8000-00000000000{n}" for n in range(2, 7))
NUMBER = "ORD-20260101-00001"
SETTLED = "2026-01-03 00:00:00"


def effect(
    kind: str, resource: str, *, amount: int | None = None, order: str | None = ORDER, **payload: Any
) -> Any:
    return {
        "kind": kind,
        "resource": resource,
        "order_id": order,
        "amount": amount,
        "recipient": "someone",
        "at": "2026-01-01T00:00:02",
        "payload": payload,
    }


def notification(id_: str, template: str, channel: str, provider_id: str | None = None) -> dict[str, Any]:
    return {
        "id": id_,
        "order_id": ORDER,
        "template": template,
        "channel": channel,
        "business_key": "",
        "status": "SENT",
        "failure_reason": None,
        "provider_id": provider_id,
    }


def fact(id_: int, type_: str) -> dict[str, Any]:
    return {
        "service": "orders",
        "id": id_,
        "event_id": UUID(int=id_),
        "topic": "order-events",
        "key": ORDER,
        "type": type_,
        "time": "2026-01-01T00:00:01",
        "body": orjson.dumps({"order_id": ORDER, "total": 500}),
    }


def step(id_: int, what: str, before: str, after: str) -> dict[str, Any]:
    at = "2026-01-01 00:00:01"
    return {"id": id_, "at": at, "actor": "system", "what": what, "from_status": before, "to_status": after}


def good() -> Evidence:
    """An order that was placed, paid, labelled, cancelled and refunded; its label stayed (a shipped one's does)."""
    return Evidence(
        orders={
            ORDER: {
                "order_number": NUMBER,
                "status": "CANCELLED",
                "captured": 500,
                "refunded": 500,
                "total": 500,
                "payment_status": "REFUNDED",
                "payment_method": "stripe",
                "settled_at": SETTLED,
            }
        },
        payments={ORDER: {"captured_amount": 500, "refunded_amount": 500, "settled_at": SETTLED}},
        consignments={ORDER: {}},
        contacts={ORDER: {}},
        timeline={
            ORDER: [
                step(1, "placed", "PENDING", "PENDING"),
                step(2, "paid", "PENDING", "PROCESSING"),
                step(3, "cancelled", "PROCESSING", "CANCELLED"),
            ]
        },
        refunds={},
        shipments={ORDER: [{"status": "DISPATCHED", "transaction_id": "label-1"}]},
        notifications={
            ORDER: [
                notification(MAIL, "order.placed", "EMAIL"),
                notification(ALERT, "order.placed", "SLACK"),
                notification(MAIL_2, "order.delivered", "EMAIL"),
                notification(SMS, "order.delivered", "SMS", "sms-1"),
                notification(ALERT_2, "order.delivered", "SLACK"),
            ]
        },
        facts=[fact(1, "order.placed"), fact(2, "order.delivered")],
        jobs=[],
        dead_letters=[],
        effects=[
            effect("stripe.charge.succeeded", "ch_1", amount=500),
            effect("stripe.refund.succeeded", "re_1", amount=500),
            effect("shippo.label.purchased", "label-1"),
            effect("smtp.message", f"<{MAIL}@example.com>", subject=NUMBER),
            effect("smtp.message", f"<{MAIL_2}@example.com>", subject=NUMBER),
            effect("twilio.message.sent", "sms-1", order=None, body=f"Your order {NUMBER}"),
            effect("slack.message", "hook", order=None, text=f"Order {NUMBER} placed: $5.00, 1 line(s)."),
            effect("slack.message", "hook", order=None, text=f"Order {NUMBER} delivered.\nOrder X placed: 1"),
        ],
    )


def job(**changes: Any) -> dict[str, Any]:
    base = {"service": "payments", "kind": "stripe.refund", "key": ORDER, "last_error": "x", "attempts": 3}
    return {**base, "state": "failed", "created_at": "2026-01-01 00:00:03", **changes}


def letter() -> dict[str, Any]:
    where = {"service": "orders", "topic": "payment-events", "offset": 7, "aggregate_key": ORDER}
    return {**where, "reason": "KeyError: x", "failed_at": "2026-01-01 00:00:03"}


Lie = Callable[[Evidence], object]
LIES: dict[str, tuple[str, Lie]] = {
    "a job was given up": ("left unsent", lambda e: e.jobs.append(job())),
    "a valid fact was buried": ("left unsent", lambda e: e.dead_letters.append(letter())),
    "something is in flight": ("left unsent", lambda e: e.in_flight.update({"orders outbox": 1})),
    "a service never heard of it": ("orders that every", lambda e: e.consignments.clear()),
    "captured twice": (
        "captured =",
        lambda e: e.effects.append(effect("stripe.charge.succeeded", "ch_2", amount=500)),
    ),
    "payments knows of no capture": ("captured =", lambda e: set_(e.payments, captured_amount=0)),
    "orders knows of no capture": ("captured =", lambda e: set_(e.orders, captured=0, refunded=0)),
    "captured too little": ("captured =", lambda e: set_(e.orders, total=501)),
    "captured something else than it was placed with": (
        "captured =",
        lambda e: e.facts.append({**fact(3, "order.placed"), "body": orjson.dumps({"total": 499})}),
    ),
    "staff took money that orders does not know": (
        "captured =",
        lambda e: set_(e.payments, captured_amount=600, external_amount=100),
    ),
    "money handed back that orders does not know": (
        "refunded =",
        lambda e: e.refunds.update({ORDER: [{"amount": 100, "handed_back_at": "2026-01-01"}]}),
    ),
    "refunded twice": (
        "refunded =",
        lambda e: e.effects.append(effect("stripe.refund.succeeded", "re_2", amount=500)),
    ),
    "a refund that the bank sent back": (
        "refunded =",
        lambda e: e.effects.append(effect("stripe.refund.failed", "re_1", amount=500)),
    ),
    "a refund that payments does not know": ("refunded =", lambda e: set_(e.payments, refunded_amount=0)),
    "the money of a cancelled order was kept": ("cancelled orders", lambda e: set_(e.orders, refunded=0)),
    "settled, which orders does not know": ("settled =", lambda e: set_(e.orders, settled_at=None)),
    "completed although money went back": (
        "settled =",
        lambda e: set_(e.orders, payment_status="COMPLETED"),
    ),
    "settled, and not completed": (
        "settled =",
        lambda e: set_(e.orders, payment_status="PAID", refunded=0),
    ),
    "a second label": (
        "live labels",
        lambda e: e.effects.append(effect("shippo.label.purchased", "label-2")),
    ),
    "a label that Shippo took back": (
        "live labels",
        lambda e: e.effects.append(effect("shippo.label.refunded", "label-1")),
    ),
    "an email that never went out": ("emails sent", lambda e: remove(e, "smtp.message")),
    "an email that went out twice": ("emails sent", lambda e: again(e, "smtp.message")),
    "an SMS that never went out": ("SMS sent", lambda e: remove(e, "twilio.message.sent")),
    "an SMS that went out twice": ("SMS sent", lambda e: again(e, "twilio.message.sent")),
    "an alert that never went out": ("alerts sent", lambda e: remove(e, "slack.message")),
    "one of an order's alerts that never went out": (
        "alerts sent",
        lambda e: remove_last(e, "slack.message"),
    ),
    "an email given up": ("messages noted", lambda e: fate(e, "FAILED")),
    "an email of unknown fate": (
        "messages noted",
        lambda e: fate(e, "UNKNOWN"),
    ),
    "nobody was told": ("occasions", lambda e: e.notifications.clear()),
    "somebody was told by one channel only": ("occasions", lambda e: e.notifications[ORDER].pop()),
    "told of what did not happen": ("occasions", lambda e: e.facts.clear()),
    "a gap in the timeline": ("timelines", lambda e: e.timeline[ORDER].pop(1)),
    "a timeline that leads elsewhere": ("timelines", lambda e: e.timeline[ORDER].pop()),
}


def set_(rows: Any, **values: Any) -> None:
    rows[ORDER].update(values)


def fate(evidence: Any, status: str) -> None:
    evidence.notifications[ORDER][0].update(status=status)


def remove(evidence: Evidence, kind: str) -> None:
    evidence.effects[:] = [e for e in evidence.effects if e["kind"] != kind]


def remove_last(evidence: Evidence, kind: str) -> None:
    *_, last = (e for e in evidence.effects if e["kind"] == kind)
    evidence.effects.remove(last)


def again(evidence: Evidence, kind: str) -> None:
    """The same message once more, under an id of its own where the provider gives one."""
    first = next(e for e in evidence.effects if e["kind"] == kind)
    copy = {**first, "resource": first["resource"] if kind == "smtp.message" else "another"}
    evidence.effects.append(copy)


def test_no_two_alerts_begin_alike() -> None:
    begins = list(ALERTS.values())
    assert not any(a.startswith(b) for a in begins for b in begins if a is not b)
    assert all("{}" in words for words in begins)


def test_the_books_of_an_order_that_went_well_agree() -> None:
    assert violations(Book(good())) == []
    assert all(check.holds for check in checks(Book(good())))


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_noticed_by_its_rule(name: str) -> None:
    rule, lie = LIES[name]
    evidence = deepcopy(good())
    lie(evidence)
    assert any(violation.rule.startswith(rule) for violation in violations(Book(evidence)))


def test_every_rule_has_a_lie() -> None:
    names = [check.what for check in checks(Book(good()))]
    assert len(names) == len(RULES)
    assert [name for name in names if not any(name.startswith(rule) for rule, _ in LIES.values())] == []


def test_where_things_went_wrong_an_email_may_go_out_twice_and_an_sms_may_not() -> None:
    evidence = deepcopy(good())
    again(evidence, "smtp.message")
    assert violations(Book(evidence, repeats=True)) == []
    again(evidence, "twilio.message.sent")
    assert [v.rule for v in violations(Book(evidence, repeats=True))] == ["SMS sent, none twice"]


def test_an_alert_may_name_its_order_by_its_id() -> None:
    evidence = deepcopy(good())
    remove_last(evidence, "slack.message")
    evidence.effects.append(effect("slack.message", "hook", order=None, text=f"Order {ORDER} delivered."))
    assert violations(Book(evidence)) == []


def test_orders_that_are_not_asked_for_are_left_out() -> None:
    evidence = deepcopy(good())
    set_(evidence.orders, captured=0)
    assert violations(Book(evidence, [])) == []


def test_the_history_of_an_order_has_everything_in_order_of_time() -> None:
    evidence = deepcopy(good())
    evidence.jobs.append(job())
    evidence.dead_letters.append(letter())
    lines = history(evidence, ORDER)
    assert lines == sorted(lines, key=lambda line: line[:12])
    for part in (
        "said order.placed",
        "PENDING -> PROCESSING",
        "stripe.charge.succeeded",
        "stripe.refund failed",
        "KeyError",
    ):
        assert any(part in line for line in lines)
