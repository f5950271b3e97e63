"""Work with the provider: calls that are owed to it, and what it told by webhook. Both end in the same `record_*` functions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from payments import domain, refunds
from payments.attempts import Attempt
from payments.domain import AWAIT_FUNDS, CANCEL_INTENT, CREATE_INTENT, FETCH_FEE, Booking, Intent, News
from payments.handlers import settle
from payments.provider import Stripe, UnsettledError
from payments.refunds import REFUND, ProviderRefund, RefundNews
from payments.store import PAYMENTS, REFUNDS
from shared.jobs import Job, Jobs
from shared.tx import Tx

INTENT_SEEN = "stripe.intent_seen"
REFUND_SEEN = "stripe.refund_seen"
NOT_OURS = "stripe.not_ours"
PATIENCE_SECONDS = 0.5
"""Nobody waits for a fee or for funds: they may wait for others to share the call and the statements."""
BOOKINGS_IN_A_LOT = 30
FUNDS_EVERY_SECONDS = 1
"""Stripe rounds `available_on` to days: thousands of looks fall due at once, and Stripe limits its callers."""


def record_intent(order_id: str, intent: Intent, at: datetime, tx: Tx) -> None:
    """Raises Missing while the payment is not there: the job is tried again."""
    settle(tx, domain.learn(tx.get(PAYMENTS, order_id), intent, at))


def record_refund(order_id: str, refund_id: str, seen: ProviderRefund, at: datetime, tx: Tx) -> None:
    """Raises Missing while the refund is not there: the job is tried again."""
    decision = refunds.learn(tx.get(PAYMENTS, order_id), tx.get(REFUNDS, refund_id), seen, at)
    tx.save(REFUNDS, decision.refund)
    settle(tx, decision)


def jobs_for(provider: Stripe) -> Jobs:
    """Every kind of work that payments does."""
    jobs = Jobs()
    _register_calls(jobs, provider)

    @jobs.on(INTENT_SEEN, PAYMENTS)
    async def on_intent_seen(job: Job, tx: Tx) -> None:
        intent = Intent(**job.payload["intent"] | {"news": News(job.payload["intent"]["news"])})
        record_intent(job.key, intent, _at(job), tx)

    @jobs.on(REFUND_SEEN, PAYMENTS, REFUNDS)
    async def on_refund_seen(job: Job, tx: Tx) -> None:
        shown = job.payload["refund"]
        seen = ProviderRefund(**shown | {"news": RefundNews(shown["news"])})
        record_refund(job.key, str(UUID(job.payload["refund_id"])), seen, _at(job), tx)

    @jobs.on(NOT_OURS)
    async def on_not_ours(job: Job, tx: Tx) -> None:
        """Something else is sold through the same Stripe account; the row is kept as evidence."""

    return jobs


def _register_calls(jobs: Jobs, provider: Stripe) -> None:
    async def create_intent(job: Job) -> Intent:
        attempt = Attempt.of(job, datetime.now(UTC))
        return await provider.create_intent(job.key, **job.payload, attempt=attempt)

    async def cancel_intent(job: Job) -> Intent:
        return await provider.cancel_intent(**job.payload)

    async def refund(job: Job) -> ProviderRefund:
        attempt = Attempt.of(job, datetime.now(UTC), most=1)
        return await provider.refund(job.key, **job.payload, attempt=attempt)

    async def fetch_bookings(lot: Sequence[Job]) -> Sequence[Booking | None]:
        asked = [job.payload for job in lot]
        booked = [each["booked_at"] for each in asked if "booked_at" in each]
        return await provider.fetch_bookings([each["balance_transaction"] for each in asked], booked=booked)

    async def on_intent(job: Job, intent: Intent, tx: Tx) -> None:
        record_intent(job.key, intent, tx.now, tx)

    async def on_refund(job: Job, seen: ProviderRefund, tx: Tx) -> None:
        record_refund(job.key, job.payload["refund_id"], seen, tx.now, tx)

    async def on_booking(job: Job, booking: Booking | None, tx: Tx) -> None:
        if booking is None:
            raise UnsettledError("Stripe did not tell how it was booked")
        looks = job.payload.get("looks", 0)
        settle(tx, domain.learn_booking(tx.get(PAYMENTS, job.key), booking, tx.now, looks=looks))

    jobs.call(CREATE_INTENT, create_intent, on_intent, PAYMENTS)
    jobs.call(CANCEL_INTENT, cancel_intent, on_intent, PAYMENTS)
    jobs.call(REFUND, refund, on_refund, PAYMENTS, REFUNDS)
    for kind, every in ((FETCH_FEE, 0), (AWAIT_FUNDS, FUNDS_EVERY_SECONDS)):
        in_lots = partial(jobs.call_many, many=BOOKINGS_IN_A_LOT, every=every, patience=PATIENCE_SECONDS)
        in_lots(kind, fetch_bookings, on_booking, PAYMENTS)


def _at(job: Job) -> datetime:
    return datetime.fromtimestamp(job.payload["at"], UTC)
