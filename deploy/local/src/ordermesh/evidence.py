"""What there is to know about the orders, read from the services' databases and from the providers' record.

For the demo, the tests and the fault harness, which judge it in `books`; no service reads another's tables like this.
"""

import asyncio
import importlib
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import orjson

from ordermesh.shop import Reading, Shop
from shared.contracts.topics import TOPICS

Row = Mapping[str, Any]
SOON_SECONDS = 600
"""A job that is due within this time is in flight (a retry); later ones are deadlines."""


@dataclass(frozen=True)
class Evidence:
    """Rows as the databases hold them; `effects` is the providers' record. `unheard` and `in_flight` count by place."""

    orders: dict[str, Row]
    payments: dict[str, Row]
    consignments: dict[str, Row]
    contacts: dict[str, Row]
    timeline: dict[str, list[Row]]
    refunds: dict[str, list[Row]]
    shipments: dict[str, list[Row]]
    notifications: dict[str, list[Row]]
    facts: list[Row]
    jobs: list[Row]
    dead_letters: list[Row]
    effects: list[Reading]
    in_flight: dict[str, int] = field(default_factory=dict)

    @property
    def placed(self) -> dict[str, int]:
        """What each order cost when it was placed, in minor units."""
        placed = (fact for fact in self.facts if fact["type"] == "order.placed")
        return {fact["key"]: orjson.loads(fact["body"])["total"] for fact in placed}


_TABLES = {
    "orders": ("orders", "timeline"),
    "payments": ("payments", "refunds"),
    "shipping": ("consignments", "shipments"),
    "notifications": ("contacts", "notifications"),
}
_FACTS = """
SELECT id, event_id, topic, key, type, headers ->> 'ce_time' AS time, body FROM event_log ORDER BY id
"""
_DEAD = """
SELECT consumer, topic, partition, "offset", event_id, aggregate_key, blocks_key, reason, failed_at FROM dead_letters
"""
_IN_FLIGHT = """
SELECT (SELECT count(*) FROM outbox_pending) AS outbox,
       (SELECT count(*) FROM jobs WHERE state = 'due' AND due_at < now() + $1::float * interval '1 second') AS jobs
"""


async def gather(databases: Mapping[str, str], shop: Shop) -> Evidence:
    """All there is now. `databases`: a DSN by service. Raises OSError and PostgresError when one cannot be read."""
    rows: dict[str, list[Row]] = {}
    said: dict[str, list[Row]] = {"facts": [], "jobs": [], "dead_letters": []}
    for service, tables in _TABLES.items():
        async with _connected(databases[service]) as conn:
            for table in tables:
                rows[table] = [dict(row) for row in await conn.fetch(f"SELECT * FROM {table}")]  # noqa: S608 - our own names
            said["facts"] += await _marked(conn, service, _FACTS)
            said["jobs"] += await _marked(conn, service, "SELECT * FROM jobs ORDER BY created_at, id")
            said["dead_letters"] += await _marked(conn, service, _DEAD)
    return Evidence(
        orders={str(row["id"]): row for row in rows["orders"]},
        payments={str(row["order_id"]): row for row in rows["payments"]},
        consignments={str(row["order_id"]): row for row in rows["consignments"]},
        contacts={str(row["order_id"]): row for row in rows["contacts"]},
        timeline=_by_order(sorted(rows["timeline"], key=lambda row: row["id"])),
        refunds=_by_order(rows["refunds"]),
        shipments=_by_order(rows["shipments"]),
        notifications=_by_order(rows["notifications"]),
        effects=await effects(shop),
        in_flight=await in_flight(databases, shop),
        **said,
    )


async def effects(shop: Shop) -> list[Reading]:
    """The providers' whole record, oldest first."""
    found: list[Reading] = []
    while True:
        since = found[-1]["seq"] if found else 0
        page = await shop.sandbox("GET", f"/control/effects?since={since}&limit=500")
        if not page["effects"]:
            return found
        found += page["effects"]


async def in_flight(databases: Mapping[str, str], shop: Shop) -> dict[str, int]:
    """What is still on its way, by place; empty when everything has arrived."""
    found = {"webhooks": int((await shop.sandbox("GET", "/control/pending"))["pending"])}
    said: dict[str, dict[Any, str]] = defaultdict(dict)
    heard: dict[str, set[Any]] = {}
    for service in _TABLES:
        async with _connected(databases[service]) as conn:
            counts = await conn.fetchrow(_IN_FLIGHT, float(SOON_SECONDS))
            found |= {f"{service} {place}": count for place, count in counts.items()}
            for row in await conn.fetch("SELECT event_id, topic, type FROM event_log"):
                said[row["topic"]][row["event_id"]] = row["type"]
            heard[service] = {row["event_id"] for row in await conn.fetch("SELECT event_id FROM inbox")}
    for service in _TABLES:
        types = await asyncio.to_thread(acted_on, service)
        found[f"{service} unheard"] = sum(
            type_ in types and event_id not in heard[service]
            for topic in TOPICS
            if service in topic.consumers
            for event_id, type_ in said[topic.name].items()
        )
    return {place: count for place, count in found.items() if count}


def acted_on(service: str) -> frozenset[str]:
    """The types of facts that the service has a handler of."""
    handlers = importlib.import_module(f"{service}.handlers").handlers
    return frozenset(fact.type for fact in handlers.by_fact)


async def _marked(conn: Any, service: str, query: str) -> list[Row]:
    return [{"service": service, **dict(row)} for row in await conn.fetch(query)]


def _by_order(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(str(row["order_id"]), []).append(row)
    return found


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Any]:
    """JSON columns arrive as what they hold."""
    conn = await asyncpg.connect(dsn, timeout=10)
    try:
        await conn.set_type_codec(
            "jsonb",
            encoder=lambda value: orjson.dumps(value).decode(),
            decoder=orjson.loads,
            schema="pg_catalog",
        )
        yield conn
    finally:
        await conn.close(timeout=5)
