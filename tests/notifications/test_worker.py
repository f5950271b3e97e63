"""From a fact to the provider and back: each message once, whatever happens on the way."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

import sandbox
from notifications.channels import Sms
from notifications.domain import Guarantee, Message, Status
from notifications.messages import OCCASIONS
from notifications.worker import LAST_LOOK, NotListedYet, Sender
from sandbox.endpoint import Answer, Refusal
from shared.contracts import Fact
from shared.jobs import Job
from support.accounts import record

T = TypeVar("T")
ExampleOf = Callable[..., Fact]
Opened = Callable[..., AbstractAsyncContextManager[Any]]
Until = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]

SETTINGS = sandbox.Settings(port=0, smtp_port=0)


class Broken(sandbox.Faults):
    """Answers 503 at an endpoint, `after` its effect or instead of it."""

    def __init__(self, endpoint: str, *, after: bool) -> None:
        self.endpoint, self.after, self.calls = endpoint, after, 0

    async def around(self, endpoint: str, effect: Callable[[], T]) -> T:
        if endpoint != self.endpoint:
            return effect()
        self.calls += 1
        if self.after:
            effect()
        raise Refusal(Answer.text("broken", 503))


def order(house: Any, **more: str) -> dict[str, str]:
    return {"order_id": str(house.order_id), **more}


async def test_every_fact_told_twice_is_each_message_once(
    house: Any, example: ExampleOf, box: sandbox.Box, effects: Any
) -> None:
    number = f"ORD-{uuid4()}"
    placed = example("order.placed", **order(house, order_number=number))
    others = sorted(fact.type for fact in OCCASIONS if fact.type not in {"order.placed", "order.cancelled"})
    of_orders = {"order_number": number}
    facts = [
        example(name, **order(house), **(of_orders if name.startswith("order.") else {})) for name in others
    ]
    records = [record(fact) for fact in (placed, *facts)]
    await house.deliver([*records, *records])
    await house.deliver(records)
    rows = await house.settle()
    assert {row["status"] for row in rows} == {"SENT"}
    assert all(row["sent_at"] is not None for row in rows)
    noted = {channel: sum(row["channel"] == channel for row in rows) for channel in ("EMAIL", "SMS", "SLACK")}
    emails = box.record.effects(kind="smtp.message", order_id=str(house.order_id))
    texts = effects("twilio.message.sent", number)
    lines = [line for post in effects("slack.message", number) for line in post.payload["text"].split("\n")]
    assert noted == {"EMAIL": len(emails), "SMS": len(texts), "SLACK": sum(number in line for line in lines)}
    assert noted == {"EMAIL": 9, "SMS": 2, "SLACK": 9}
    by_id = {row["provider_id"] for row in rows if row["channel"] != "SLACK"}
    assert by_id == {one.resource for one in (*emails, *texts)}


async def test_with_every_provider_down_all_is_sent_once_when_they_are_back(
    opened: Opened, example: ExampleOf, until: Until
) -> None:
    async with sandbox.running(SETTINGS) as gone:
        ports = {"port": int(gone.url.rpartition(":")[2]), "smtp_port": gone.smtp_port}
    async with opened(gone) as house:
        house.work()
        await house.hear(example("order.placed", **order(house)), example("order.shipped", **order(house)))

        async def tried_by_all() -> bool:
            retries = "SELECT kind FROM jobs WHERE state = 'due' AND (payload ->> 'tries')::int > 0"
            return {row["kind"] for row in await house.fetch(retries)} == {
                "email.send",
                "sms.send",
                "slack.post",
            }

        await until(tried_by_all)
        assert {row["status"] for row in await house.rows()} == {"REQUESTED"}
        async with sandbox.running(SETTINGS.model_copy(update=ports)) as back:
            rows = await house.settle()
            assert [row["status"] for row in rows] == ["SENT"] * 5
            counts = back.record.counts()
            assert counts["smtp.message"] == 2
            assert counts["twilio.message.sent"] == 1
            lines = [one.payload["text"].split("\n") for one in back.record.effects(kind="slack.message")]
            assert sum(map(len, lines)) == 2
            await house.rest()


async def test_an_sms_whose_answer_was_lost_is_found_and_not_sent_again(
    opened: Opened, example: ExampleOf
) -> None:
    faults = Broken("twilio.messages.create", after=True)
    async with sandbox.running(SETTINGS, faults=faults) as box, opened(box) as house:
        house.work()
        await house.hear(example("order.placed", **order(house)), example("order.shipped", **order(house)))
        await house.settle()
        [sms] = await house.rows(channel="SMS")
        [sent] = box.record.effects(kind="twilio.message.sent")
        assert (sms["status"], sms["provider_id"]) == ("SENT", sent.resource)
        assert sms["sent_at"] is not None


async def test_an_sms_of_unknown_fate_is_given_up_and_not_sent_again(
    opened: Opened, example: ExampleOf
) -> None:
    faults = Broken("twilio.messages.create", after=False)
    async with sandbox.running(SETTINGS, faults=faults) as box, opened(box) as house:
        house.work()
        await house.hear(example("order.placed", **order(house)), example("order.delivered", **order(house)))
        rows = await house.settle()
        [sms] = [row for row in rows if row["channel"] == "SMS"]
        assert (sms["status"], sms["failure_reason"]) == ("UNKNOWN", "an earlier attempt may have gone out")
        assert sms["sent_at"] is None
        assert faults.calls == 1
        assert await house.fetch("SELECT attempts FROM jobs WHERE kind = 'sms.send'") == [
            {"attempts": LAST_LOOK}
        ]


async def test_an_at_least_once_sms_is_sent_again_when_it_was_never_found(box: sandbox.Box) -> None:
    sms = Sms(f"{box.url}/twilio", "AC123", "token", "+15005550006", shop="Mugs", timeout_seconds=5)
    sender = Sender(None, sms, None)
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    message = Message(
        "n", "o", "+14155550101", "", f"Paid {uuid4()}", "", Guarantee.AT_LEAST_ONCE, expires_at
    )
    payload = {**message.payload(), "expires_at": expires_at.isoformat()}

    def job(attempts: int) -> Job:
        return Job(uuid4(), "sms.send", "o", payload, attempts, "", datetime.now(UTC))

    for attempts in range(2, LAST_LOOK):
        with pytest.raises(NotListedYet):
            await sender.sms(job(attempts))
    sent = await sender.sms(job(LAST_LOOK))
    assert sent.status is Status.SENT
    assert await sender.sms(job(LAST_LOOK)) == sent
    await sms.close()


async def test_an_email_whose_answer_was_lost_goes_out_again_under_the_same_id(
    opened: Opened, example: ExampleOf, until: Until
) -> None:
    class LosesTheFirstAnswer(sandbox.Faults):
        lost = False

        async def around(self, endpoint: str, effect: Callable[[], T]) -> T:
            done = effect()
            if endpoint == "smtp.message" and not self.lost:
                self.lost = True
                raise ConnectionResetError("the answer is lost")
            return done

    async with sandbox.running(SETTINGS, faults=LosesTheFirstAnswer()) as box, opened(box) as house:
        house.work()
        await house.hear(example("order.placed", **order(house)))
        await house.settle()
        [email] = await house.rows(channel="EMAIL")
        first, second = box.record.effects(kind="smtp.message")
        assert first.resource == second.resource == email["provider_id"]
        assert email["status"] == "SENT"


async def test_what_the_provider_refuses_for_good_is_noted_with_its_reason(
    house: Any, example: ExampleOf
) -> None:
    contact = {"name": "Ann", "email": "ann@bounce.test", "phone": "+15005550009"}
    placed = example("order.placed", order_id=str(house.order_id), contact=contact)
    await house.hear(placed, example("order.delivered", **order(house)))
    rows = await house.settle()
    assert [(row["channel"], row["status"], row["failure_reason"]) for row in rows] == [
        ("EMAIL", "FAILED", "the mail server refused it (550)"),
        ("SLACK", "SENT", None),
        ("EMAIL", "FAILED", "the mail server refused it (550)"),
        ("SMS", "SKIPPED", "the recipient has opted out"),
        ("SLACK", "SENT", None),
    ]


async def test_a_channel_that_is_not_configured_is_off(
    opened: Opened, box: sandbox.Box, example: ExampleOf
) -> None:
    off = {"smtp_url": "", "twilio_auth_token": "", "slack_webhook_url": ""}
    async with opened(box, **off) as house:
        house.work()
        await house.hear(example("order.placed", **order(house)), example("order.shipped", **order(house)))
        rows = await house.settle()
        assert {(row["status"], row["failure_reason"]) for row in rows} == {
            ("SKIPPED", "the channel is not configured")
        }


async def test_a_restored_database_does_not_mail_last_month_again(
    opened: Opened, box: sandbox.Box, example: ExampleOf
) -> None:
    async with opened(box) as house:
        await house.hear(example("order.placed", **order(house)), example("order.shipped", **order(house)))
        last_month = (datetime.now(UTC) - timedelta(days=30)).isoformat()
        await house.fetch(
            "UPDATE jobs SET payload = payload || jsonb_build_object('expires_at', $1::text)", last_month
        )
        house.work()
        rows = await house.settle()
        assert {(row["status"], row["failure_reason"]) for row in rows} == {("SKIPPED", "too old to be sent")}
        assert box.record.effects(kind="smtp.message", order_id=str(house.order_id)) == []


async def test_a_flood_of_alerts_is_a_few_posts(opened: Opened, example: ExampleOf) -> None:
    async with sandbox.running(SETTINGS) as box, opened(box, slack_every=0.05) as house:
        numbers = [f"ORD-{n:03}" for n in range(60)]
        await house.hear(
            *(example("order.placed", order_id=str(uuid4()), order_number=number) for number in numbers)
        )
        house.work()
        await house.settle()
        posts = [one.payload["text"].split("\n") for one in box.record.effects(kind="slack.message")]
        assert [len(post) for post in posts] == [50, 10]
        assert [line.split()[1] for post in posts for line in post] == numbers


async def test_a_second_post_waits_for_its_time_and_holds_up_nothing_else(
    opened: Opened, example: ExampleOf, until: Until
) -> None:
    async with sandbox.running(SETTINGS) as box, opened(box, slack_every=60) as house:
        house.work()
        for _ in range(3):
            placed = example("order.placed", order_id=str(uuid4()))
            await house.hear(placed)

            async def mailed(placed: Fact = placed) -> Any:
                return [
                    row
                    for row in await house.rows(channel="EMAIL", status="SENT")
                    if str(row["order_id"]) == placed.key
                ]

            await until(mailed)
        assert box.record.counts()["slack.message"] == 1
        alerts = await house.rows(channel="SLACK")
        assert [alert["status"] for alert in alerts] == ["SENT", "REQUESTED", "REQUESTED"]


async def test_nothing_personal_is_logged_whatever_goes_wrong(
    opened: Opened, example: ExampleOf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    canaries = ("Zebulon", "quagga", "5005550009", "4155559876", "4155551234")
    people = [
        {"name": "Zebulon", "email": "quagga@bounce.test", "phone": "+15005550009"},
        {"name": "Zebulon", "email": "quagga@example.test", "phone": "+14155559876"},
        {"name": "Zebulon", "email": "quagga q@x", "phone": "+1 (415) 555-1234 ext"},
    ]
    with capture_logs() as logs:
        faults = Broken("twilio.messages.create", after=False)
        async with sandbox.running(SETTINGS, faults=faults) as box, opened(box) as house:
            house.work()
            for contact in people:
                ids = {"order_id": str(uuid4())}
                await house.hear(
                    example("order.placed", **ids, contact=contact), example("order.delivered", **ids)
                )
            await house.settle()
            errors = await house.fetch("SELECT last_error FROM jobs WHERE last_error IS NOT NULL")
            reasons = [row["failure_reason"] for row in await house.rows()]
        assert errors
    said = [str(entry) for entry in logs]
    ours = [line.getMessage() for line in caplog.records if not line.name.startswith(("mail.", "sandbox"))]
    assert any("not sent" in line for line in said)
    found = [
        (canary, text)
        for canary in canaries
        for text in (*said, *ours, *map(str, errors), *map(str, reasons))
        if canary in text
    ]
    assert found == []
