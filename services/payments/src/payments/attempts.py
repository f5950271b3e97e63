"""Under which idempotency keys an attempt may ask Stripe to make something, so that it is never made twice.

Stripe keeps the first answer to a key, a 500 included, and replays it for a day: the same key again would wait that day out.
So the keys of a job form a chain, and an attempt walks it from its beginning. It goes on to the next key only when the last
one *replayed* a 5xx (the request under that key has ended, none is in flight) and a look made after that finds nothing made.

Why nothing is made twice:
* By induction every key before the one in use has ended without an effect. Only the last key of the walk can be in flight,
  or have an outcome that we never heard, and whoever walks after us, at the same time or later, asks under that same key:
  Stripe answers 409 while it runs and replays it after that. A key that counted attempts instead would break this: it would
  ask anew while the request of the attempt before, cut off by a lost connection, is still running.
* That needs every key of the chain to be remembered. Stripe may forget one after 24 hours, so each day of a job's life has
  a chain of its own, and nothing is asked for in the last hour of a day: what was asked for before has long ended when the
  next chain begins, and the look with which every repeat begins sees it.
* And that what a failed request made is visible once its failure is replayed. Stripe does not promise that: a 5xx is
  indeterminate, and what Stripe reconciles after an incident may appear later. An intent that appears late is harmless (nobody
  has its secret); a refund would be money given twice. So a refund has ONE key a day: a saved 5xx is only looked behind, for
  the rest of that day, and what made nothing visible in it is asked for again on the next.
Sources: docs.stripe.com/api/idempotent_requests, docs.stripe.com/error-low-level.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.jobs import Job

DAY = timedelta(hours=24)
ASKING = timedelta(hours=23)
"""How much of each day may be spent asking."""
KEYS = 32
"""The most that one attempt walks; each costs two calls, and all of them have to fit into the worker's time for one job."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """`keys` in the order of use, none of them in the hour for looking only; nothing was asked for before `since` (UTC)."""

    keys: Sequence[str]
    is_repeat: bool
    since: datetime

    @classmethod
    def of(cls, job: Job, now: datetime, *, most: int = KEYS) -> "Attempt":
        """`most`: how long a chain may be; 1 for what must not happen twice even if an earlier request comes to light late."""
        day, into = divmod(now - job.created_at, DAY)
        root = f"{job.id}:day{day}" if day > 0 else str(job.id)
        keys = (root, *(f"{root}:{n}" for n in range(1, most))) if into < ASKING else ()
        return cls(keys, job.attempts > 1, job.created_at)
