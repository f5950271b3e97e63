"""Work that is due at a time, and how a service registers what to do about it. `worker` runs it.

Two sorts. A *local* job (a stored webhook, a deadline) is a message like a fact: handled in memory with its batch, finished
in the same transaction. A *call* goes to a provider, and its outcome is recorded together with the facts it causes. A call
may run again after a crash: `attempts` tells it to look up what became of the earlier one, and `id` is its idempotency key
for good.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from shared.db import Record
from shared.handlers import Handle, Handler
from shared.mapping import Mapping
from shared.tx import Tx

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Job:
    """`key` is the aggregate it is about; `attempts` counts this one; `created_at` is UTC."""

    id: UUID
    kind: str
    key: str
    payload: dict[str, Any]
    attempts: int
    correlation_id: str
    created_at: datetime

    @classmethod
    def of(cls, row: Record) -> "Job":
        return cls(**row)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A job with what became of its call, on its way to `record`."""

    job: Job
    outcome: Any


@dataclass(frozen=True, slots=True)
class Call:
    """How one kind of provider call is made and recorded: `many` jobs at most in one call, `every` seconds at least between two.

    `patience`: the seconds that a job, and then its outcome, may wait for others to share a statement with.
    """

    call: Callable[[Sequence[Job]], Awaitable[Sequence[Any]]]
    record: Handler[Recorded]
    many: int
    every: float
    patience: float

    @property
    def is_single(self) -> bool:
        return self.many == 1 and not self.every


class Jobs:
    """A service's kinds of work. `on` registers a local kind, `call` a provider call."""

    def __init__(self) -> None:
        self.local: dict[str, Handler[Job]] = {}
        self.calls: dict[str, Call] = {}

    @property
    def kinds(self) -> set[str]:
        return self.local.keys() | self.calls.keys()

    def patience_of(self, kinds: Iterable[str]) -> float:
        """The seconds that all of them may wait."""
        return min(self.calls[kind].patience if kind in self.calls else 0 for kind in kinds)

    def on(self, kind: str, *loads: Mapping[Any]) -> Callable[[Handle[Job]], Handle[Job]]:
        """The decorated `async (job, tx)` handles jobs of this kind, in a transaction, without any provider."""

        def register(handle: Handle[Job]) -> Handle[Job]:
            self.local[kind] = Handler(handle, loads)
            return handle

        return register

    def call(
        self,
        kind: str,
        make: Callable[[Job], Awaitable[Outcome]],
        record: Callable[[Job, Outcome, Tx], Awaitable[None]],
        *loads: Mapping[Any],
        patience: float = 0,
    ) -> None:
        """`make` speaks to the provider and answers a definite outcome, or raises when the outcome is unknown."""

        async def one(jobs: Sequence[Job]) -> Sequence[Outcome]:
            return [await make(jobs[0])]

        self.call_many(kind, one, record, *loads, many=1, patience=patience)

    def call_many(
        self,
        kind: str,
        make: Callable[[Sequence[Job]], Awaitable[Sequence[Outcome]]],
        record: Callable[[Job, Outcome, Tx], Awaitable[None]],
        *loads: Mapping[Any],
        many: int,
        every: float = 0,
        patience: float = 0,
    ) -> None:
        """Like `call`, for a provider that takes several at once: one outcome per job, in order.

        `every` is for one that limits its callers: the seconds between the beginnings of two calls, in each process.
        """

        async def handle(recorded: Recorded, tx: Tx) -> None:
            await record(recorded.job, recorded.outcome, tx)

        self.calls[kind] = Call(make, Handler(handle, loads), many, every, patience)
