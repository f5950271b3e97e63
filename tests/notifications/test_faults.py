"""A third of all calls to the mail server, Twilio and Slack goes wrong, by seed: nothing that must arrive is missing, no SMS doubles."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from tests.notifications.test_worker import SETTINGS

import sandbox

if TYPE_CHECKING:
    from tests.notifications.test_worker import ExampleOf, Opened

CALLS = ["reset", "unavailable", "rate_limited", "error", "error_after_effect", "lost_answer", "slow"]


async def test_every_message_ends_and_no_sms_is_sent_twice(opened: Opened, example: ExampleOf) -> None:
    async with sandbox.running(SETTINGS) as box, opened(box) as house:
        for target in ("smtp.*", "twilio.*", "slack.*"):
            box.faults.add(target, CALLS, probability=0.35, seed=3, seconds=0.05)
        house.work()
        ids = [str(uuid4()) for _ in range(6)]
        for order_id in ids:
            await house.hear(
                example("order.placed", order_id=order_id), example("order.shipped", order_id=order_id)
            )
        await house.settle()
        rows = await house.rows()
        assert box.faults.injected(limit=2**31)
        assert {row["status"] for row in rows if row["channel"] != "SMS"} == {"SENT"}
        assert {row["status"] for row in rows if row["channel"] == "SMS"} <= {"SENT", "UNKNOWN"}
        mails = {effect.resource for effect in box.record.effects(kind="smtp.message", limit=2**31)}
        assert {row["provider_id"] for row in rows if row["channel"] == "EMAIL"} == mails
        texts = box.record.effects(kind="twilio.message.sent", limit=2**31)
        assert len(texts) <= len(ids)
