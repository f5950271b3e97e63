"""Which fact says what to whom: one literal table, and the messages that it makes of a fact. Pure: no I/O, no clock.

Customers hear of their order from `order-events` alone; staff hear by Slack, of payments' and shipping's failures too. A
message older than its maximum age is not sent: a restored database does not mail last month again. An address is in no message:
whoever typed it could have anything mailed to others.
"""

import re
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from notifications import rendering
from notifications.domain import Channel, Contact, Guarantee, Message, Notification, Status
from notifications.rendering import Link
from shared.contracts.envelope import Fact
from shared.contracts.orders import (
    OrderAddressChanged,
    OrderCancelled,
    OrderDelivered,
    OrderHeld,
    OrderItemsCancelled,
    OrderPaid,
    OrderPaymentFailed,
    OrderPlaced,
    OrderRefunded,
    OrderReturned,
    OrderShipped,
)
from shared.contracts.payments import PaymentRefundFailed
from shared.contracts.shipping import ShipmentFailed

SMS_LENGTH = 140
"""Characters of ours in one SMS of 160: the shop's name and a colon come before them."""
EMAIL_AGE, SMS_AGE, SLACK_AGE = timedelta(hours=48), timedelta(hours=12), timedelta(hours=24)

_ADDRESS = re.compile(r"[^\s<>()\[\],;:\\\"@]+@[^\s<>()\[\],;:\\\"@]+")
_PHONE_PUNCTUATION = re.compile(r"[\s().-]")
_WEB = ("https://", "http://")


@dataclass(frozen=True, slots=True)
class Template:
    """`paragraphs` and `subject` are Jinja2 over the fact's fields; `link` is a label and the field that holds the address."""

    channel: Channel
    paragraphs: tuple[str, ...]
    maximum_age: timedelta
    guarantee: Guarantee = Guarantee.AT_LEAST_ONCE
    subject: str = ""
    link: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Occasion:
    """`at` is the fact's field that says when; `per` the one that tells repeats apart (None: once in an order's life).

    `daily`: of a time, only its day (UTC) does.
    """

    at: str
    templates: tuple[Template, ...]
    per: str | None = None
    daily: bool = False

    def repeat_of(self, values: Dict[str, Any]) -> str:
        """The same for what is told once."""
        told = _text(values[self.per]) if self.per else ""
        return told[: len("2026-11-28")] if self.daily else told


def _email(subject: str, *paragraphs: str, link: tuple[str, str] | None = None) -> Template:
    return Template(Channel.EMAIL, paragraphs, EMAIL_AGE, subject=subject, link=link)


def _sms(text: str) -> Template:
    """Twilio cannot tell a repeat, so whoever may have had it does not get it again."""
    return Template(Channel.SMS, (text,), SMS_AGE, Guarantee.AT_MOST_ONCE)


def _alert(text: str) -> Template:
    return Template(Channel.SLACK, (text,), SLACK_AGE)


OCCASIONS: Dict[type[Fact], Occasion] = {
    OrderPlaced: Occasion(
        "placed_at",
        (
            _email(
                "We have received your order {{ number }}",
                "Thank you for your order {{ number }}:",
                "{% for line in lines %}"
                "{{ line.quantity }} x {{ line.name }}: {{ (line.quantity * line.unit_price) | money(currency) }}\n"
                "{% endfor %}",
                "Total with shipping and tax: {{ total | money(currency) }}",
                "We will start on it as soon as it is paid, and let you know.",
            ),
            _alert("Order {{ number }} placed: {{ total | money(currency) }}, {{ lines | length }} line(s)."),
        ),
    ),
    OrderPaid: Occasion(
        "paid_at",
        (
            _email(
                "Your order {{ number }} is paid",
                "We have received your payment of {{ amount | money(currency) }} for order {{ number }}.",
                "We are getting it ready, and will let you know when it is on its way.",
            ),
            _alert("Order {{ number }} paid: {{ amount | money(currency) }} by {{ method }}. Ready to ship."),
        ),
    ),
    OrderPaymentFailed: Occasion(
        "failed_at",
        (
            _email(
                "{% if final %}We cannot take a payment for your order {{ number }}"
                "{% else %}Your payment for order {{ number }} was declined{% endif %}",
                "{% if final %}We cannot take a payment for your order {{ number }}, and nothing was charged."
                "{% else %}Your payment for order {{ number }} was declined, and nothing was charged.{% endif %}",
                "{% if final %}This is not about your card. Please answer this email, so that we can help you."
                "{% else %}"
                "We are keeping the order for you: please try again, with another card if need be."
                "{% endif %}",
            ),
        ),
        per="failed_at",
        daily=True,  # or whoever tries card after card would mail the address that he ordered with as often
    ),
    OrderShipped: Occasion(
        "shipped_at",
        (
            _email(
                "Your order {{ number }} is on its way",
                "Your order {{ number }} is on its way with {{ carrier }}.",
                "Tracking number: {{ tracking_number }}",
                link=("Follow your parcel", "tracking_url"),
            ),
            _sms(
                "Your order {{ number }} is on its way with {{ carrier }}, tracking {{ tracking_number }}."
                "{% if tracking_url %} {{ tracking_url }}{% endif %}"
            ),
            _alert("Order {{ number }} shipped with {{ carrier }}, tracking {{ tracking_number }}."),
        ),
    ),
    OrderDelivered: Occasion(
        "delivered_at",
        (
            _email(
                "Your order {{ number }} has arrived",
                "Your order {{ number }} was delivered.",
                "If anything is not as it should be, just answer this email.",
            ),
            _sms("Your order {{ number }} was delivered. Enjoy!"),
            _alert("Order {{ number }} delivered."),
        ),
    ),
    OrderCancelled: Occasion(
        "cancelled_at",
        (
            _email(
                "Your order {{ number }} is cancelled",
                "{% if reason == 'expired' %}"
                "Your order {{ number }} was not paid in time, so it is cancelled."
                "{% else %}"
                "Your order {{ number }} is cancelled."
                "{% endif %}",
                "If you have paid for it already, the amount will be refunded, and we will let you know.",
            ),
            _alert("Order {{ number }} cancelled: {{ reason }}."),
        ),
    ),
    OrderRefunded: Occasion(
        "refunded_at",
        (
            _email(
                "A refund for your order {{ number }}",
                "We have sent {{ amount | money(currency) }} back to you for order {{ number }}."
                "{% if refunded_total != amount %} In all, {{ refunded_total | money(currency) }} went back.{% endif %}",
                "Your bank may take a few days to show it.",
            ),
            _alert("Order {{ number }} refunded: {{ amount | money(currency) }}."),
        ),
        per="refund_id",
    ),
    OrderReturned: Occasion(
        "returned_at",
        (
            _email(
                "Your order {{ number }} came back to us",
                "The parcel of your order {{ number }} came back to us.",
                "We are looking into it, and will write again about your refund.",
            ),
            _alert("Order {{ number }} came back to us."),
        ),
    ),
    OrderItemsCancelled: Occasion(
        "cancelled_at",
        (
            _email(
                "Your order {{ number }} has changed",
                "We took {{ lines | sum(attribute='quantity') }}"
                "{% if lines | sum(attribute='quantity') == 1 %} item{% else %} items{% endif %} off your order {{ number }}.",
                "If you have paid for that already, the amount will be refunded, and we will let you know.",
                "The rest of your order goes on as before.",
            ),
        ),
        per="cancelled_at",
    ),
    OrderAddressChanged: Occasion(
        "changed_at",
        (
            _email(
                "The address of your order {{ number }} has changed",
                "Your order {{ number }} will go to the new address that we were given for it.",
                "If that was not you, please answer this email at once.",
            ),
        ),
        per="changed_at",
    ),
    OrderHeld: Occasion(
        "held_at",
        (
            _alert(
                "Order {{ number }} is on hold: {{ reason }}."
                "{% if deadline %} The hold ends by itself at {{ deadline.strftime('%Y-%m-%d %H:%M') }} UTC.{% endif %}"
                " Nothing of it goes out meanwhile."
            ),
        ),
        per="hold_id",
    ),
    PaymentRefundFailed: Occasion(
        "failed_at",
        (
            _alert(
                "Order {{ number }}: the refund of {{ amount | money(currency) }} failed: {{ reason }}. Please look."
            ),
        ),
        per="refund_id",
    ),
    ShipmentFailed: Occasion(
        "failed_at",
        (_alert("Order {{ number }}: shipment {{ shipment_id }} failed: {{ reason }}. Please look."),),
        per="shipment_id",
    ),
}


def compose(
    fact: Fact, contact: Contact | None, now: datetime, new_id: Callable[[], UUID]
) -> Iterator[tuple[Notification, Message | None]]:
    """What the fact has to say, and to whom; no words where it will not be sent (SKIPPED, with the reason).

    `contact` is None while order.placed has not been heard.
    """
    occasion = OCCASIONS[type(fact)]
    # A payment.refund_failed of old does not say when; it counts as new.
    happened: datetime = getattr(fact, occasion.at) or now
    values = dict(fact)
    values["number"] = values.get("order_number") or (contact.order_number if contact else fact.key)
    for template in occasion.templates:
        recipient = recipient_of(template.channel, contact)
        skipped = _unsendable(template, recipient, now - happened)
        notification = Notification(
            id=new_id(),
            order_id=UUID(fact.key),
            template=fact.type,
            channel=template.channel,
            business_key=occasion.repeat_of(values),
            recipient=recipient,
            status=Status.SKIPPED if skipped else Status.REQUESTED,
            created_at=now,
            failure_reason=skipped,
        )
        yield notification, None if skipped else _message(notification, template, happened, values, contact)


def _message(
    notification: Notification,
    template: Template,
    happened: datetime,
    values: Dict[str, Any],
    contact: Contact | None,
) -> Message:
    subject, text, html = _words(template, values, contact)
    return Message(
        notification_id=str(notification.id),
        order_id=str(notification.order_id),
        to=notification.recipient or "",
        subject=subject,
        text=text,
        html=html,
        guarantee=template.guarantee,
        expires_at=happened + template.maximum_age,
    )


def recipient_of(channel: Channel, contact: Contact | None) -> str | None:
    """Where the channel reaches the customer; None for staff's channel, and where there is nothing usable."""
    if contact is None or channel is Channel.SLACK:
        return None
    if channel is Channel.SMS:
        return _PHONE_PUNCTUATION.sub("", contact.phone or "") or None
    address = (contact.email or "").strip()
    return address if _ADDRESS.fullmatch(address) else None


def _words(template: Template, values: Dict[str, Any], contact: Contact | None) -> tuple[str, str, str]:
    """The message's subject, text and HTML; a channel that has none of one gets an empty string."""
    match template.channel:
        case Channel.SLACK:
            return "", rendering.slack(template.paragraphs[0], values), ""
        case Channel.SMS:
            return "", _short(template.paragraphs[0], values), ""
        case Channel.EMAIL:
            subject, *paragraphs = rendering.plain((template.subject, *template.paragraphs), values)
            paragraphs.insert(0, rendering.greeting(contact.name if contact else ""))
            link = _link(template, values)
            text = rendering.email_text(paragraphs, link)
            return subject, text, rendering.email_html(subject, paragraphs, link)


def _short(source: str, values: Dict[str, Any]) -> str:
    """Within one SMS where possible: a tracking address that does not fit is left out, its number tells as much."""
    [text] = rendering.plain([source], values)
    if len(text) > SMS_LENGTH and values.get("tracking_url"):
        [text] = rendering.plain([source], {**values, "tracking_url": None})
    return text


def _link(template: Template, values: Dict[str, Any]) -> Link | None:
    if template.link is None:
        return None
    label, name = template.link
    url = values[name] or ""
    return Link(label, url) if url.startswith(_WEB) else None


def _unsendable(template: Template, recipient: str | None, age: timedelta) -> str | None:
    if age >= template.maximum_age:
        return f"older than {template.maximum_age // timedelta(hours=1)} hours when we heard of it"
    if recipient is None and template.channel is Channel.EMAIL:
        return "no usable email address is known"
    if recipient is None and template.channel is Channel.SMS:
        return "no phone number is known"
    return None


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
