"""The record: every effect that a provider had on the world, appended once and never changed (the database refuses to).

Promises: a repeated idempotent call adds no effect; `seq` grows with time, so a reader can continue where it stopped.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from sandbox.state import State

PAGE = 500

INSERT_EFFECT = """
INSERT INTO effects (at, provider, kind, resource, order_id, amount, currency, recipient, idempotency_key, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
PAGE_OF_EFFECTS = """
SELECT seq, at, provider, kind, resource, order_id, amount, currency, recipient, idempotency_key, payload FROM effects
WHERE seq > ? AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR order_id = ?3) ORDER BY seq LIMIT ?4
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One thing that happened. `kind` reads provider.object.verb; `amount` is in minor units of `currency` (upper case)."""

    seq: int
    at: datetime
    provider: str
    kind: str
    resource: str
    order_id: str | None
    amount: int | None
    currency: str | None
    recipient: str | None
    idempotency_key: str | None
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """One request that a provider answered. `path` has no query, so it carries no personal data."""

    seq: int
    at: datetime
    provider: str
    method: str
    path: str
    status: int
    idempotency_key: str | None


class Record:
    def __init__(self, state: State) -> None:
        self._db = state.db

    def effect(
        self,
        kind: str,
        resource: str,
        payload: dict[str, Any],
        *,
        order_id: str | None = None,
        amount: int | None = None,
        currency: str | None = None,
        recipient: str | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Append one effect; the caller's transaction keeps it together with the change that it describes."""
        provider = kind.partition(".")[0]
        row = (
            time.time(),
            provider,
            kind,
            resource,
            order_id,
            amount,
            currency and currency.upper(),
            recipient,
        )
        self._db.execute(INSERT_EFFECT, (*row, idempotency_key, orjson.dumps(payload)))

    def request(
        self, provider: str, method: str, path: str, status: int, idempotency_key: str | None = None
    ) -> None:
        self._db.execute(
            "INSERT INTO requests (at, provider, method, path, status, idempotency_key) VALUES (?, ?, ?, ?, ?, ?)",
            (time.time(), provider, method, path, status, idempotency_key),
        )

    def effects(
        self, *, since: int = 0, kind: str | None = None, order_id: str | None = None, limit: int = PAGE
    ) -> list[Effect]:
        """At most `limit` effects after `since` (a seq), oldest first."""
        rows = self._db.execute(PAGE_OF_EFFECTS, (since, kind, order_id, limit))
        return [
            Effect(
                seq=row[0],
                at=datetime.fromtimestamp(row[1], UTC),
                provider=row[2],
                kind=row[3],
                resource=row[4],
                order_id=row[5],
                amount=row[6],
                currency=row[7],
                recipient=row[8],
                idempotency_key=row[9],
                payload=orjson.loads(row[10]),
            )
            for row in rows
        ]

    def requests(self, *, since: int = 0, limit: int = PAGE) -> list[ProviderRequest]:
        """At most `limit` requests after `since` (a seq), oldest first."""
        rows = self._db.execute(
            "SELECT seq, at, provider, method, path, status, idempotency_key FROM requests WHERE seq > ? ORDER BY seq LIMIT ?",
            (since, limit),
        )
        return [ProviderRequest(row[0], datetime.fromtimestamp(row[1], UTC), *row[2:]) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many effects of each kind there are."""
        return dict(
            self._db.execute("SELECT kind, count(*) FROM effects GROUP BY kind ORDER BY kind").fetchall()
        )

    def amounts(self) -> dict[str, dict[str, int]]:
        """Sums in minor units by kind and currency, for the kinds that carry money."""
        sums: dict[str, dict[str, int]] = {}
        for kind, currency, amount in self._db.execute(
            "SELECT kind, currency, sum(amount) FROM effects WHERE amount IS NOT NULL GROUP BY kind, currency"
        ):
            sums.setdefault(kind, {})[currency] = amount
        return sums
