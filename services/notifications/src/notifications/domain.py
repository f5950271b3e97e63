"""A notification's short life: requested, then sent, failed, skipped or of unknown fate. Pure: no I/O, no clock."""

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

FIRST_RETRY_SECONDS = 1
LAST_RETRY_SECONDS = 300


class Channel(StrEnum):
    EMAIL = "EMAIL"
    SMS = "SMS"
    SLACK = "SLACK"


class Status(StrEnum):
    REQUESTED = "REQUESTED"
    SENT = "SENT"  # the provider has accepted it
    FAILED = "FAILED"  # the provider refuses it for good, or did not accept it in time
    SKIPPED = "SKIPPED"  # deliberately not sent: nowhere to send it, too old, opted out, channel off
    UNKNOWN = (
        "UNKNOWN"  # it may have gone out; it is not sent again, since once too often is worse than never
    )


class Guarantee(StrEnum):
    """What a template prefers when nobody can tell whether its message went out."""

    AT_LEAST_ONCE = "AT_LEAST_ONCE"
    AT_MOST_ONCE = "AT_MOST_ONCE"


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom an order's messages go to; from order.placed, the only fact with contact data."""

    order_id: UUID
    order_number: str
    customer_id: UUID
    partner_id: str | None
    currency: str
    name: str
    email: str | None
    phone: str | None
    version: int = 1


@dataclass(frozen=True, slots=True)
class Notification:
    """One message by one channel, once for (order, template, channel, business key). Times in UTC."""

    id: UUID
    order_id: UUID
    template: str
    channel: Channel
    business_key: str
    recipient: str | None
    status: Status
    created_at: datetime
    failure_reason: str | None = None
    provider_id: str | None = None
    sent_at: datetime | None = None
    version: int = 1

    @property
    def identity(self) -> tuple[str, Channel, str]:
        return (self.template, self.channel, self.business_key)


@dataclass(frozen=True, slots=True)
class Message:
    """The words on their way to a channel, as a job carries them. `tries` counts earlier ones that surely did not go out."""

    notification_id: str
    order_id: str
    to: str
    subject: str
    text: str
    html: str
    guarantee: Guarantee
    expires_at: datetime
    tries: int = 0

    def payload(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, payload: dict[str, Any]) -> Self:
        """What `payload` gave, back from JSON."""
        read = {
            "guarantee": Guarantee(payload["guarantee"]),
            "expires_at": datetime.fromisoformat(payload["expires_at"]),
        }
        return cls(**{**payload, **read})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt. REQUESTED: it surely did not go out and may be tried again."""

    status: Status
    reason: str | None = None
    provider_id: str | None = None


def settled(notification: Notification, outcome: Outcome, now: datetime) -> Notification:
    """What the outcome makes of it. Only a requested one changes: a repeat, or a late second answer, says nothing new."""
    if notification.status is not Status.REQUESTED or outcome.status is Status.REQUESTED:
        return notification
    return replace(
        notification,
        status=outcome.status,
        failure_reason=outcome.reason,
        provider_id=outcome.provider_id,
        sent_at=now if outcome.status is Status.SENT else None,
    )


def expired(message: Message, attempts: int, now: datetime) -> Outcome | None:
    """What becomes of a message past its time; None while it may still be sent. `attempts` counts this one."""
    if now < message.expires_at:
        return None
    if attempts == 1 and message.tries == 0:
        return Outcome(Status.SKIPPED, "too old to be sent")
    if attempts > 1 and message.guarantee is Guarantee.AT_MOST_ONCE:
        return Outcome(Status.UNKNOWN, "an earlier attempt may have gone out")
    return Outcome(Status.FAILED, "the provider did not accept it in time")


def retry_delay(tries: int) -> timedelta:
    """Doubling, from one second to five minutes."""
    return timedelta(seconds=min(FIRST_RETRY_SECONDS * 2 ** min(tries, 16), LAST_RETRY_SECONDS))


def masked(recipient: str) -> str:
    """Enough to recognise one's own address, not enough to learn another's."""
    local, at, domain = recipient.rpartition("@")
    return f"{local[:1]}***@{domain}" if at else f"***{recipient[-2:]}"
