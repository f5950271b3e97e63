"""Faults that are set by control call: which provider call or webhook meets which fault, and what was injected.

Promises: a rule's decision about the n-th call of an endpoint depends on its seed, the endpoint and n alone, so the same seed
decides alike whatever happens elsewhere and at the same time; every injected fault is appended to a record that is never
changed; rules, counters and record are kept in the state, across restarts.
"""

import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from sandbox.faults import Faults
from sandbox.state import State

WEBHOOKS = "webhooks"
EVERYTHING = "*"


class Kind(StrEnum):
    """What goes wrong with a provider call (the first eight) or with a webhook (the others)."""

    RESET = "reset"  # the connection is reset; no effect
    UNAVAILABLE = "unavailable"  # 503 (SMTP 421); no effect, and no idempotency key remembers it
    RATE_LIMITED = "rate_limited"  # 429 with Retry-After (SMTP 450); no effect, not remembered
    ERROR = "error"  # 500 (SMTP 451), no effect; Stripe saves it under the idempotency key and replays it
    ERROR_AFTER_EFFECT = "error_after_effect"  # as above, but the effect has happened
    LOST_ANSWER = "lost_answer"  # the effect happens, the connection is reset instead of an answer
    SLOW = "slow"  # effect and answer come after `seconds`, whether or not the caller still waits
    HANG = "hang"  # no answer and no effect, until the caller gives up

    DUPLICATED = "duplicated"  # sent twice
    DELAYED = "delayed"  # sent after `seconds`
    REORDERED = "reordered"  # sent after a later event of the order was accepted, or after `seconds`
    DROPPED = "dropped"  # this attempt gets lost on the way; the provider tries again
    LOST = "lost"  # never sent: only a look-up or sweep finds out
    FORGED = "forged"  # sent as it is, and beside it forgeries that no receiver may accept


CALL_KINDS = frozenset(list(Kind)[:8])
SECONDS = {Kind.RATE_LIMITED: 1.0, Kind.SLOW: 3.0, Kind.DELAYED: 2.0, Kind.REORDERED: 2.0}
"""How long, where a rule does not say."""


class InvalidRule(ValueError):
    """A rule that could never inject anything. `code`: unknown_kind, unknown_target or kind_of_other_target."""

    def __init__(self, code: str, message: str, known: list[str]) -> None:
        super().__init__(message)
        self.code, self.known = code, known


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`target`: an endpoint (provider.resource.operation), a webhook (webhooks.provider.event), or the beginning of either
    followed by `.*`; `*` alone is every endpoint. Every matching call is hit with `probability`, by one of `kinds`, at most
    `times` times (None: until cleared). `seconds`: see Kind; None: as SECONDS says.
    """

    target: str
    kinds: tuple[Kind, ...]
    times: int | None = None
    probability: float = 1.0
    seed: int = 0
    seconds: float | None = None

    def covers(self, name: str) -> bool:
        if self.target == EVERYTHING:
            return not name.startswith(f"{WEBHOOKS}.")
        return name == self.target or (
            self.target.endswith(".*") and name.startswith(self.target.removesuffix("*"))
        )

    def draw(self, name: str, nth: int) -> Kind | None:
        """The decision about the `nth` call (from 1) of the endpoint or webhook `name`."""
        drawn = hashlib.sha256(f"{self.seed}:{name}:{nth}".encode()).digest()
        if int.from_bytes(drawn[:7]) >= self.probability * 2**56:
            return None
        return self.kinds[int.from_bytes(drawn[8:]) % len(self.kinds)]


@dataclass(frozen=True, slots=True)
class Fault:
    """A decision: the `nth` call of `target` meets `kind`."""

    rule: int
    target: str
    kind: Kind
    nth: int
    seconds: float


class Injection:
    """The rules, and the seam for faults that are scripted in code (`scripted`)."""

    def __init__(self, state: State, scripted: Faults) -> None:
        self.scripted = scripted
        self.targets: set[str] = set()
        self._db = state.db

    def register(self, name: str) -> None:
        """An endpoint or webhook that rules may name."""
        self.targets.add(name)

    def add(self, target: str, kinds: list[str], **rest: Any) -> int:
        """Set a rule for all calls from now on; the rule's id. Of several that hit a call, the oldest counts.

        Raises InvalidRule.
        """
        rule = Rule(target=target, kinds=tuple(_kind(kind) for kind in kinds), **rest)
        if not any(rule.covers(name) for name in self.targets):
            raise InvalidRule(
                "unknown_target", f"no endpoint or webhook is named {target}", sorted(self.targets)
            )
        suits = [kind for kind in Kind if (kind in CALL_KINDS) != target.startswith(f"{WEBHOOKS}.")]
        for kind in rule.kinds:
            if kind not in suits:
                raise InvalidRule("kind_of_other_target", f"{kind} cannot happen to {target}", list(suits))
        (added,) = self._db.execute(
            "INSERT INTO fault_rules (target, kinds, times, remaining, probability, seed, seconds)"
            " VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6) RETURNING id",
            (
                rule.target,
                orjson.dumps(rule.kinds).decode(),
                rule.times,
                rule.probability,
                rule.seed,
                rule.seconds,
            ),
        ).fetchone()
        return int(added)

    def clear(self, rule: int | None = None) -> int:
        """Forget a rule (all: None); answers how many there were. The record of what was injected stays."""
        self._db.execute("DELETE FROM fault_calls WHERE ?1 IS NULL OR rule = ?1", (rule,))
        return self._db.execute("DELETE FROM fault_rules WHERE ?1 IS NULL OR id = ?1", (rule,)).rowcount

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its `calls` (how many it has decided about) and what it `injected`, by target and kind."""
        return [
            {
                "id": number,
                **_shown(rule),
                "remaining": remaining,
                "calls": dict(
                    self._db.execute("SELECT name, calls FROM fault_calls WHERE rule = ?", (number,))
                ),
                "injected": self._counts(number),
            }
            for number, rule, remaining in self._rules()
        ]

    def choose(self, name: str) -> Fault | None:
        """Which fault this call of `name` meets. Counts the call; `note` counts the fault, once it is certain to happen."""
        chosen = None
        for number, rule, remaining in self._rules():
            if not rule.covers(name):
                continue
            (nth,) = self._db.execute(
                "INSERT INTO fault_calls VALUES (?, ?, 1)"
                " ON CONFLICT (rule, name) DO UPDATE SET calls = calls + 1 RETURNING calls",
                (number, name),
            ).fetchone()
            kind = rule.draw(name, nth)
            if chosen is None and kind is not None and remaining != 0:
                seconds = SECONDS.get(kind, 0.0) if rule.seconds is None else rule.seconds
                chosen = Fault(number, name, kind, nth, seconds)
        return chosen

    def note(self, fault: Fault, about: str, key: str | None = None) -> None:
        """Append an injected fault. `about`: the call's path, or the webhook's order. Part of the caller's transaction."""
        self._db.execute(
            "UPDATE fault_rules SET remaining = remaining - 1 WHERE id = ? AND remaining > 0", (fault.rule,)
        )
        self.append(fault.rule, fault.target, fault.kind, fault.nth, about, key)

    def append(self, rule: int, target: str, kind: str, nth: int, about: str, key: str | None = None) -> None:
        self._db.execute(
            "INSERT INTO injected_faults (at, rule, target, kind, nth, about, idempotency_key) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (time.time(), rule, target, kind, nth, about, key),
        )

    def injected(self, *, since: int = 0, limit: int = 500) -> list[dict[str, Any]]:
        """At most `limit` injected faults after `since` (a seq), oldest first."""
        rows = self._db.execute(
            "SELECT seq, at, rule, target, kind, nth, about, idempotency_key FROM injected_faults"
            " WHERE seq > ? ORDER BY seq LIMIT ?",
            (since, limit),
        )
        names = ("rule", "target", "kind", "nth", "about", "idempotency_key")
        return [
            {
                "seq": seq,
                "at": datetime.fromtimestamp(at, UTC),
                **dict(zip(names, rest, strict=True)),
            }
            for seq, at, *rest in rows
        ]

    def _rules(self) -> list[tuple[int, Rule, int | None]]:
        rows = self._db.execute(
            "SELECT id, target, kinds, times, probability, seed, seconds, remaining FROM fault_rules ORDER BY id"
        ).fetchall()
        return [
            (
                row[0],
                Rule(
                    target=row[1],
                    kinds=tuple(map(Kind, orjson.loads(row[2]))),
                    times=row[3],
                    probability=row[4],
                    seed=row[5],
                    seconds=row[6],
                ),
                row[7],
            )
            for row in rows
        ]

    def _counts(self, rule: int) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {}
        for target, kind, count in self._db.execute(
            "SELECT target, kind, count(*) FROM injected_faults WHERE rule = ? GROUP BY target, kind", (rule,)
        ):
            counts.setdefault(target, {})[kind] = count
        return counts


def _kind(name: str) -> Kind:
    try:
        return Kind(name)
    except ValueError:
        raise InvalidRule("unknown_kind", f"no fault is named {name}", list(Kind)) from None


def _shown(rule: Rule) -> dict[str, Any]:
    return {
        "target": rule.target,
        "kinds": rule.kinds,
        "times": rule.times,
        "probability": rule.probability,
        "seed": rule.seed,
        "seconds": rule.seconds,
    }
