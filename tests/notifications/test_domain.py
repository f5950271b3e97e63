"""What becomes of a notification, and who may read an address."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import orjson
import pytest

from notifications.domain import (
    Channel,
    Guarantee,
    Message,
    Notification,
    Outcome,
    Status,
    expired,
    masked,
    retry_delay,
    settled,
)

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
REQUESTED = Notification(
    uuid4(), uuid4(), "order.paid", Channel.EMAIL, "", "ann@example.com", Status.REQUESTED, NOW
)
MESSAGE = Message("n", "o", "+1", "", "Hello", "", Guarantee.AT_MOST_ONCE, NOW + timedelta(hours=1))
LATE = NOW + timedelta(hours=1)


def test_what_the_provider_accepted_is_sent_with_its_time_and_id() -> None:
    sent = settled(REQUESTED, Outcome(Status.SENT, provider_id="SM1"), LATE)
    assert (sent.status, sent.provider_id, sent.sent_at, sent.failure_reason) == (
        Status.SENT,
        "SM1",
        LATE,
        None,
    )


@pytest.mark.parametrize("status", [Status.FAILED, Status.SKIPPED, Status.UNKNOWN])
def test_what_was_not_sent_says_why_and_has_no_time(status: Status) -> None:
    over = settled(REQUESTED, Outcome(status, "because"), LATE)
    assert (over.status, over.failure_reason, over.sent_at) == (status, "because", None)


def test_what_may_be_tried_again_stays_requested() -> None:
    assert settled(REQUESTED, Outcome(Status.REQUESTED, "busy"), LATE) == REQUESTED


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.REQUESTED])
@pytest.mark.parametrize("outcome", list(Status))
def test_a_second_outcome_changes_nothing(status: Status, outcome: Status) -> None:
    over = replace(REQUESTED, status=status)
    assert settled(over, Outcome(outcome, "again"), LATE) == over


def test_a_message_may_be_sent_until_it_expires() -> None:
    assert expired(MESSAGE, 1, LATE - timedelta(microseconds=1)) is None


@pytest.mark.parametrize(
    ("message", "attempts", "status"),
    [
        (MESSAGE, 1, Status.SKIPPED),
        (replace(MESSAGE, tries=1), 1, Status.FAILED),
        (MESSAGE, 2, Status.UNKNOWN),
        (replace(MESSAGE, guarantee=Guarantee.AT_LEAST_ONCE), 2, Status.FAILED),
    ],
)
def test_an_expired_message_tells_what_was_tried(message: Message, attempts: int, status: Status) -> None:
    outcome = expired(message, attempts, LATE)
    assert outcome is not None
    assert outcome.status is status


def test_retries_slow_down_to_five_minutes() -> None:
    assert [retry_delay(tries).total_seconds() for tries in (0, 1, 2, 8, 9, 1000)] == [1, 2, 4, 256, 300, 300]


def test_a_message_survives_the_job_it_travels_in() -> None:
    assert Message.of(orjson.loads(orjson.dumps(MESSAGE.payload()))) == MESSAGE


@pytest.mark.parametrize(
    ("recipient", "shown"),
    [("jane@example.com", "j***@example.com"), ("+14155550101", "***01"), ("@", "***@")],
)
def test_an_address_is_masked(recipient: str, shown: str) -> None:
    assert masked(recipient) == shown
