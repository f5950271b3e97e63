"""Sending what was asked for, and noting what became of it. A message past its maximum age is no longer sent.

What surely did not go out is asked for again, later, as a new job. What may have gone out comes back by the plumbing, with
`attempts` above one: by email and Slack it goes out again; an SMS is looked up, and given up as UNKNOWN when it is not found.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from notifications.channels import Email, Slack, Sms
from notifications.domain import Guarantee, Message, Outcome, Status, expired, retry_delay, settled
from notifications.store import NOTIFICATIONS
from shared.jobs import Job, Jobs
from shared.tx import Tx

log = structlog.get_logger(__name__)

ALERTS_IN_A_POST = 50
PATIENCE_SECONDS = 0.25
"""Nobody waits for an email or an alert, nor for its being noted: they may wait for others to share the statements."""
LAST_LOOK = 4
"""The attempt at which an SMS that Twilio does not list counts as never found: some seconds after the first."""
_OFF = Outcome(Status.SKIPPED, "the channel is not configured")


class NotListedYet(RuntimeError):
    """Twilio does not list the message of an earlier attempt; it may still appear."""


class Sender:
    """Makes the calls; a channel that is None is off."""

    def __init__(self, email: Email | None, sms: Sms | None, slack: Slack | None) -> None:
        self._email, self._sms, self._slack = email, sms, slack

    async def email(self, job: Job) -> Outcome:
        message = Message.of(job.payload)
        if self._email is None:
            return _OFF
        return expired(message, job.attempts, datetime.now(UTC)) or await self._email.send(message)

    async def sms(self, job: Job) -> Outcome:
        message = Message.of(job.payload)
        if self._sms is None:
            return _OFF
        over = expired(message, job.attempts, datetime.now(UTC))
        if over is None and job.attempts > 1:
            over = await _earlier(self._sms, message, job.attempts)
        return over or await self._sms.send(message)

    async def slack(self, jobs: Sequence[Job]) -> Sequence[Outcome]:
        """One post for all that are still worth telling, oldest first."""
        if self._slack is None:
            return [_OFF] * len(jobs)
        now = datetime.now(UTC)
        messages = {job.id: Message.of(job.payload) for job in jobs}
        over = {job.id: expired(messages[job.id], job.attempts, now) for job in jobs}
        texts = [messages[job_id].text for job_id in sorted(messages) if over[job_id] is None]
        posted = await self._slack.post(texts) if texts else _OFF
        return [over[job.id] or posted for job in jobs]


async def _earlier(sms: Sms, message: Message, attempts: int) -> Outcome | None:
    """What became of the attempts before; None when it may be sent (again)."""
    found = await sms.find(message)
    if found is not None:
        return Outcome(Status.SENT, provider_id=found)
    if attempts < LAST_LOOK:
        raise NotListedYet("Twilio does not list the message of an earlier attempt")
    if message.guarantee is Guarantee.AT_MOST_ONCE:
        return Outcome(Status.UNKNOWN, "an earlier attempt may have gone out")
    return None


async def record(job: Job, outcome: Outcome, tx: Tx) -> None:
    notification = tx.get(NOTIFICATIONS, job.payload["notification_id"])
    tx.save(NOTIFICATIONS, settled(notification, outcome, tx.now))
    if outcome.status is Status.REQUESTED:
        message = Message.of(job.payload)
        again = replace(message, tries=message.tries + 1)
        tx.request(job.kind, job.key, again.payload(), due_at=tx.now + retry_delay(message.tries))
    if outcome.status is not Status.SENT:
        log.warning("not sent", kind=job.kind, key=job.key, status=outcome.status, reason=outcome.reason)


def jobs_for(sender: Sender, *, slack_every: float) -> Jobs:
    """`slack_every`: seconds between two posts of this process. The rarer kinds come first: a flood of emails takes all slots."""
    jobs = Jobs()
    jobs.call_many(
        "slack.post",
        sender.slack,
        record,
        NOTIFICATIONS,
        many=ALERTS_IN_A_POST,
        every=slack_every,
        patience=PATIENCE_SECONDS,
    )
    jobs.call("sms.send", sender.sms, record, NOTIFICATIONS)
    jobs.call("email.send", sender.email, record, NOTIFICATIONS, patience=PATIENCE_SECONDS)
    return jobs
