"""How facts may reach running services, for tests: twice, shuffled over topics and keys, once more after a crash.

Each mode is a context manager over services in this event loop, with their real broker and databases in between. Chance is
drawn from a seed: the same seed draws the same again, though what is in flight when it draws is up to the machine. `happened`
counts what the mode really did: a mode that did nothing has proved nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from shared.inbox import Record
from shared.jobs import Call, Job
from shared.outbox import Outgoing, Publish
from shared.service import Service

Receive = Callable[[Sequence[Record]], Coroutine[Any, Any, None]]

HOLD_SECONDS = 0.15
"""A topic is held back while others have something to say, and no longer than this when they have not."""
HOLD_MESSAGES = 8
CRASHES = 0.3
"""The share of batches and calls after which the process dies."""


@dataclass
class Happened:
    """How often the mode did its mischief."""

    count: int = 0


@contextmanager
def delivered_twice(services: Sequence[Service]) -> Iterator[Happened]:
    """Everything that the services say reaches the broker twice."""
    happened = Happened()

    def twice(once: Publish) -> Publish:
        async def publish(messages: Sequence[Outgoing]) -> None:
            await once(messages)
            await once(messages)
            happened.count += len(messages)

        return publish

    with _publishing(services, twice):
        yield happened


@asynccontextmanager
async def shuffled(services: Sequence[Service], seed: int) -> AsyncIterator[Happened]:
    """Facts reach the broker one by one in a drawn order, some topic held behind the others; `happened` counts overtakings.

    Within a key of one topic they keep their order, as Kafka promises: a relay has one event of a key in flight.
    """
    shuffle = _Shuffle(Random(seed))  # noqa: S311 - a schedule, no secret
    releasing = asyncio.create_task(shuffle.run())
    try:
        with _publishing(services, shuffle.between):
            yield shuffle.happened
    finally:
        releasing.cancel()
        with suppress(asyncio.CancelledError):
            await releasing


@contextmanager
def crashing(services: Sequence[Service], seed: int) -> Iterator[Happened]:
    """Processes die at the two worst moments, and their successors begin where they left off.

    A consumer, when the batch is committed in the database and its offset is not: all of it is delivered again. A worker,
    when the provider has answered and nothing is recorded: its lease runs out (here at once) and the job is taken over.
    """
    happened, random = Happened(), Random(seed)  # noqa: S311 - a schedule, no secret

    def dies() -> bool:
        is_drawn = random.random() < CRASHES
        happened.count += is_drawn
        return is_drawn

    known = [(service.jobs.calls, dict(service.jobs.calls)) for service in services]
    try:
        for service in services:
            service.inbox.receive = _dying_consumer(service.inbox.receive, dies)  # type: ignore[method-assign, assignment] # the seam of this mode
            for kind, call in service.jobs.calls.items():
                service.jobs.calls[kind] = replace(call, call=_dying_worker(service, call, dies))
        yield happened
    finally:
        for service in services:
            del service.inbox.receive
        for calls, before in known:
            calls.update(before)


def _dying_consumer(receive: Receive, dies: Callable[[], bool]) -> Receive:
    async def receive_and_die(records: Sequence[Record]) -> None:
        await receive(records)
        if dies():
            # The bus goes back to the last commit, as a consumer that starts anew would.
            raise ConnectionResetError("dead before the offset commit")

    return receive_and_die


def _dying_worker(
    service: Service, call: Call, dies: Callable[[], bool]
) -> Callable[[Sequence[Job]], Awaitable[Sequence[Any]]]:
    async def call_and_die(jobs: Sequence[Job]) -> Sequence[Any]:
        outcomes = await call.call(jobs)
        if dies():
            async with service.db.connection() as conn:
                await conn.execute(
                    "UPDATE jobs SET lease_until = now() WHERE id = ANY($1::uuid[])", [job.id for job in jobs]
                )
            # Nothing after this line runs, as in a process that is gone: the outcome is neither recorded nor released.
            raise asyncio.CancelledError
        return outcomes

    return call_and_die


@contextmanager
def _publishing(services: Sequence[Service], between: Callable[[Publish], Publish]) -> Iterator[None]:
    straight = [(service.relay, service.relay.publish) for service in services]
    for relay, publish in straight:
        relay.publish = between(publish)
    try:
        yield
    finally:
        for relay, publish in straight:
            relay.publish = publish


@dataclass(eq=False)
class _Waiting:
    """A message that a relay wants to be published; `done` is its acknowledgement."""

    message: Outgoing
    publish: Publish
    done: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class _Shuffle:
    """All relays' messages wait in one place, and leave it one by one as drawn."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Event()
        self._held: str | None = None
        self._hold_for = 0
        self.happened = Happened()

    def between(self, straight: Publish) -> Publish:
        async def publish(messages: Sequence[Outgoing]) -> None:
            waiting = [_Waiting(message, straight) for message in messages]
            self._waiting += waiting
            self._arrived.set()
            await asyncio.gather(*(each.done for each in waiting))

        return publish

    async def run(self) -> None:
        """Until cancelled: what still waits then is published by its relay, as after any failure."""
        try:
            while True:
                await self._release(await self._next())
        finally:
            for each in self._waiting:
                _settle(each.done, ConnectionResetError("the shuffle is over"))

    async def _next(self) -> _Waiting:
        while True:
            free = [each for each in self._waiting if each.message.topic != self._held]
            if free:
                return self._random.choice(free)
            self._arrived.clear()
            try:
                async with asyncio.timeout(HOLD_SECONDS if self._waiting else None):
                    await self._arrived.wait()
            except TimeoutError:
                self._held = None

    async def _release(self, chosen: _Waiting) -> None:
        self.happened.count += chosen is not self._waiting[0]
        self._waiting.remove(chosen)
        self._hold_for -= 1
        if self._held is None or self._hold_for <= 0:
            topics = sorted({each.message.topic for each in (chosen, *self._waiting)})
            self._held = self._random.choice([None, *topics])
            self._hold_for = self._random.randint(1, HOLD_MESSAGES)
        try:
            await chosen.publish([chosen.message])
        except Exception as error:  # noqa: BLE001 - whatever the broker raises is for the relay that asked
            _settle(chosen.done, error)
        else:
            _settle(chosen.done, None)


def _settle(done: "asyncio.Future[None]", error: Exception | None) -> None:
    """A relay that was cancelled meanwhile no longer asks."""
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
