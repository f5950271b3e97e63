"""What goes wrong, and when: a pure function of the seed, so that a run that found something can be run again.

A fault is due when so many orders have been begun: the schedule keeps its place in the traffic on a fast machine and a slow
one. Crash points are a list for each service: whenever it starts, it is told to die at the next one.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.crash import CRASH_POINTS, CrashPoint

SERVICES = ("orders", "payments", "shipping", "notifications")
PROCESSES = (*SERVICES, "gateway")
FIRST_AT, LAST_AT = 0.1, 0.8
"""The share of the orders that have begun when the first and the last fault are due."""
ORDERS_PER_FAULT = 6


class Kind(StrEnum):
    KILL = "SIGKILL"
    FREEZE = "SIGSTOP"
    ROLL = "SIGTERM, rolling"
    EMPTY_BROKER = "broker lost, replaced by an empty one"
    POSTGRES = "PostgreSQL stopped at once, started again"
    CUT = "connections cut"
    HOLD = "network silent"
    SLOW = "network slow"
    CRASH = "crash point"


WEIGHTS: Mapping[Kind, int] = {
    Kind.KILL: 6,
    Kind.FREEZE: 3,
    Kind.ROLL: 1,
    Kind.EMPTY_BROKER: 1,
    Kind.POSTGRES: 2,
    Kind.CUT: 3,
    Kind.HOLD: 2,
    Kind.SLOW: 2,
}
"""Of every twenty faults so many are of each kind; each kind comes up once before any comes up for the second time."""

LINKS = ("kafka", *(f"{service} database" for service in SERVICES), "payments provider", "shipping provider")
LINKS += ("notifications provider", "mail server", "payments webhooks", "shipping webhooks")

_CONSUMER: tuple[CrashPoint, ...] = (
    "batch_received",
    "inbox_claimed",
    "rows_loaded",
    "facts_handled",
    "facts_flushed",
    "facts_committed",
    "offset_committed",
)
_RELAY: tuple[CrashPoint, ...] = ("outbox_read", "events_published", "outbox_deleted")
_CALLS: tuple[CrashPoint, ...] = ("jobs_claimed", "provider_called", "outcome_flushed", "outcome_recorded")
_WEBHOOKS: tuple[CrashPoint, ...] = ("webhook_stored", "webhook_answered")
_COMMANDS: tuple[CrashPoint, ...] = ("command_flushed", "command_committed")
PASSED_BY: Mapping[str, tuple[CrashPoint, ...]] = {
    "orders": (*_CONSUMER, *_RELAY, *_COMMANDS, "request_answered"),
    "payments": (*_CONSUMER, *_RELAY, *_CALLS, *_WEBHOOKS, "request_answered"),
    "shipping": (*_CONSUMER, *_RELAY, *_CALLS, *_WEBHOOKS, *_COMMANDS, "request_answered"),
    "notifications": (*_CONSUMER, *_CALLS, "request_answered"),
}
"""The crash points that a service passes in its work."""
MOST_PASSES = 12


@dataclass(frozen=True, slots=True)
class Fault:
    """`at`: due when so many orders have begun. `seconds`: how long it lasts, where it lasts; `delay` is in seconds too."""

    at: int
    kind: Kind
    target: str = ""
    seconds: float = 0.0
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """`crashes`: by service, the places (`<crash point>:<pass>`) at which it dies, in turn."""

    seed: int
    orders: int
    faults: tuple[Fault, ...]
    crashes: Mapping[str, tuple[str, ...]]


def schedule(seed: int, orders: int, *, crashes: int | None = None) -> Schedule:
    """The same for the same arguments on every machine. `crashes`: no service dies at more crash points than so many."""
    chance = random.Random(seed)
    count = max(len(WEIGHTS), orders // ORDERS_PER_FAULT)
    kinds = list(WEIGHTS)
    chance.shuffle(kinds)
    kinds += chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=count - len(kinds))
    step = orders * (LAST_AT - FIRST_AT) / count
    faults = tuple(
        _fault(chance, kind, int(orders * FIRST_AT + (n + chance.random()) * step))
        for n, kind in enumerate(kinds)
    )
    dealt = _crashes(chance, rounds=max(1, count // len(CRASH_POINTS)))
    return Schedule(seed, orders, faults, {service: places[:crashes] for service, places in dealt.items()})


def _fault(chance: random.Random, kind: Kind, at: int) -> Fault:
    match kind:
        case Kind.KILL:
            return Fault(at, kind, chance.choice((*PROCESSES, "orders", "payments")))
        case Kind.FREEZE:
            return Fault(at, kind, chance.choice(SERVICES), seconds=round(chance.uniform(3, 20), 1))
        case Kind.CUT:
            return Fault(at, kind, chance.choice(LINKS))
        case Kind.HOLD:
            return Fault(at, kind, chance.choice(LINKS), seconds=round(chance.uniform(3, 15), 1))
        case Kind.SLOW:
            delay = round(chance.uniform(0.05, 0.5), 2)
            return Fault(at, kind, chance.choice(LINKS), round(chance.uniform(3, 15), 1), delay)
        case _:
            return Fault(at, kind)


def _crashes(chance: random.Random, rounds: int) -> dict[str, tuple[str, ...]]:
    """Each crash point once a round, dealt to the services that pass it, whoever has the fewest so far."""
    dealt: dict[str, list[str]] = {service: [] for service in SERVICES}
    for _ in range(rounds):
        points: Sequence[CrashPoint] = chance.sample(CRASH_POINTS, len(CRASH_POINTS))
        for point in points:
            able = [service for service in SERVICES if point in PASSED_BY[service]]
            fewest = min(len(dealt[service]) for service in able)
            service = chance.choice([service for service in able if len(dealt[service]) == fewest])
            dealt[service].append(f"{point}:{chance.randint(1, MOST_PASSES)}")
    return {service: tuple(places) for service, places in dealt.items()}
