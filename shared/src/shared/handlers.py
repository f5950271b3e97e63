"""Which function acts on which message, and the batch that runs them: in arrival order, in memory, each undone alone.

A handler is `async (fact, tx)` and loads what it declared: `@handlers.on(PaymentCaptured, ORDERS)` has the order of the
fact's key locked and loaded before any handler of the batch runs.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from structlog.contextvars import bind_contextvars, unbind_contextvars

from shared.contracts.envelope import Fact
from shared.db import HOPELESS, RETRYABLE, UNAVAILABLE
from shared.mapping import Mapping
from shared.tx import Cause, Tx

F = TypeVar("F", bound=Fact)
M = TypeVar("M")
Item = TypeVar("Item")
Handle = Callable[[M, Tx], Awaitable[None]]

MAX_RACES = 10
"""How often a transaction that lost a race (deadlock, serialization) is run again before it counts as failed."""


class HeldBehind(Exception):
    """An earlier message of the same key has failed; this one waits for it, so that the key keeps its order."""


class StopConsuming(Exception):
    """Valid messages fail one after the other: a bad deploy, which must not drain the topic into the dead letters."""


@dataclass(frozen=True, slots=True)
class Handler(Generic[M]):
    handle: Handle[M]
    loads: tuple[Mapping[Any], ...]


@dataclass(slots=True, eq=False)
class Delivery:
    """One message on its way to its handler; `origin` is the record or job that brought it."""

    id: UUID
    key: str
    message: Any
    handler: Handler[Any]
    cause: Cause
    origin: Any


class Handlers:
    """A service's handlers of facts; `consumer` is its name in the inbox and its consumer group."""

    def __init__(self, consumer: str) -> None:
        self.consumer = consumer
        self.by_fact: dict[type[Fact], Handler[Any]] = {}

    def on(self, fact: type[F], *loads: Mapping[Any]) -> Callable[[Handle[F]], Handle[F]]:
        def register(handle: Handle[F]) -> Handle[F]:
            if fact in self.by_fact:
                raise ValueError(f"{self.consumer} has a handler of {fact.type} already")
            self.by_fact[fact] = Handler(handle, loads)
            return handle

        return register


def keys_of(deliveries: Iterable[Delivery]) -> dict[Mapping[Any], set[str]]:
    """What the batch has to lock, before any handler runs. A message that is about nothing of ours has an empty key."""
    keys: dict[Mapping[Any], set[str]] = {}
    for delivery in filter(lambda delivery: delivery.key, deliveries):
        for mapping in delivery.handler.loads:
            keys.setdefault(mapping, set()).add(delivery.key)
    return keys


async def run(tx: Tx, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, Exception]]:
    """Run the handlers in arrival order. What raises is undone and returned, with its key's successors behind it."""
    failed: list[tuple[Delivery, Exception]] = []
    stuck: set[str] = set()
    for delivery in deliveries:
        if delivery.key in stuck:
            failed.append((delivery, HeldBehind(f"behind an earlier message of {delivery.key}")))
            continue
        tx.begin_message(delivery.cause)
        bind_contextvars(correlation_id=delivery.cause.correlation_id)
        try:
            await delivery.handler.handle(delivery.message, tx)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, its neighbours go on
            tx.undo_message()
            stuck.add(delivery.key)
            failed.append((delivery, error))
    unbind_contextvars("correlation_id")
    return failed


async def transact(
    items: Sequence[Item],
    attempt: Callable[[Sequence[Item]], Awaitable[None]],
    reject: Callable[[Item, Exception], Awaitable[None]],
) -> None:
    """Run `attempt` on all items in one transaction; when the write itself fails, halve until the culprit stands alone.

    A lost race is run again. Raises one of UNAVAILABLE when the database is away, one of HOPELESS when no item could go
    through: nothing of that transaction was done then.
    """
    for _ in range(MAX_RACES):
        try:
            return await attempt(items)
        except (*UNAVAILABLE, *HOPELESS, StopConsuming):
            raise
        except RETRYABLE as race:
            error: Exception = race
        except Exception as fault:  # noqa: BLE001 - a constraint of any kind: find the item that breaks it
            error = fault
            break
    if len(items) == 1:
        return await reject(items[0], error)
    middle = len(items) // 2
    await transact(items[:middle], attempt, reject)
    await transact(items[middle:], attempt, reject)
    return None
