"""The unit of work against PostgreSQL: rows are locked and loaded once, and written once, from arrays.

Order of locks, everywhere: inbox or job rows, then aggregates by table name and key, then inserts. Two consumers and the
mutations take them in this order, so they wait for one another but never in a circle.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Dict
from typing import Any

import orjson
from sqlalchemy import Table

from shared.db import Connection
from shared.mapping import Mapping, arrays, insert_sql, update_sql
from shared.tx import Loaded, Tx

Keys = Dict[Mapping[Any], set[Any]]

_SAY = """
WITH said AS (
    INSERT INTO event_log (event_id, topic, key, type, headers, body)
    SELECT e.event_id, e.topic, e.key, e.type, e.headers::jsonb, e.body
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[])
        WITH ORDINALITY AS e(event_id, topic, key, type, headers, body, n)
    ORDER BY e.n
    RETURNING id, day
)
INSERT INTO outbox_pending (id, day) SELECT id, day FROM said ORDER BY id
"""
_REQUEST = """
INSERT INTO jobs (id, kind, key, dedupe, payload, due_at, first_due_at, correlation_id)
SELECT j.id, j.kind, j.key, j.dedupe, j.payload::jsonb, j.due_at, j.due_at, j.correlation_id
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[])
    WITH ORDINALITY AS j(id, kind, key, dedupe, payload, due_at, correlation_id, n)
ORDER BY j.n
ON CONFLICT (dedupe) DO NOTHING
"""


class ConcurrentUpdate(RuntimeError):
    """A row changed under us although we hold its lock: something writes without locking."""


async def load(conn: Connection, tx: Tx, keys: Keys) -> None:
    """Lock and load the rows that the messages declared. A mapping with no keys is known to be empty."""
    for mapping in sorted(keys, key=lambda m: m.table.name):
        for row in await conn.fetch(mapping.lock_sql, sorted(keys[mapping])):
            tx.put(mapping, mapping.entity_of(row))


async def flush(conn: Connection, tx: Tx) -> None:
    """Write what the batch changed: updates, new rows, facts, jobs. Raises what PostgreSQL raises, and ConcurrentUpdate."""
    for mapping, loaded in sorted(tx.loaded.items(), key=lambda item: item[0].table.name):
        await _update(conn, mapping, loaded)
        await _add(conn, mapping, loaded.added.values())
    for table, rows in tx.inserted.items():
        if rows:
            columns = tuple(rows[0])
            values = arrays(table, columns, ([row[name] for name in columns] for row in rows))
            await conn.execute(insert_sql(table, columns), *values)
    for table, rows in sorted(tx.upserted.items(), key=lambda item: item[0].name):
        if rows:
            await _upsert(conn, table, rows)
    await _say(conn, tx)
    await _request(conn, tx)


async def _update(conn: Connection, mapping: Mapping[Any], loaded: Loaded) -> None:
    dirty = [
        (key, loaded.base[key], now) for key, now in loaded.current.items() if now is not loaded.base[key]
    ]
    columns = sorted(set().union(*(mapping.changed(before, now) for _, before, now in dirty)) - {"version"})
    if not columns:
        return
    every = (mapping.key, "version", *columns)
    rows = (
        [getattr(now, mapping.key), before.version, *(getattr(now, c) for c in columns)]
        for _, before, now in dirty
    )
    done = await conn.execute(
        update_sql(mapping.table, mapping.key, tuple(columns)), *arrays(mapping.table, every, rows)
    )
    if done != f"UPDATE {len(dirty)}":
        raise ConcurrentUpdate(f"{mapping.table.name}: {done}, expected {len(dirty)} rows")


async def _add(conn: Connection, mapping: Mapping[Any], entities: Iterable[Any]) -> None:
    rows = [[getattr(entity, name) for name in mapping.columns] for entity in entities]
    if rows:
        await conn.execute(
            insert_sql(mapping.table, mapping.columns), *arrays(mapping.table, mapping.columns, rows)
        )


async def _upsert(conn: Connection, table: Table, rows: Sequence[Dict[str, Any]]) -> None:
    """In key order, so that two batches wait for one another and never in a circle; of equal keys the last row wins."""
    key = next(iter(table.primary_key.columns)).name
    newest = {str(row[key]): row for row in rows}
    columns = tuple(rows[0])
    values = arrays(table, columns, ([newest[k][name] for name in columns] for k in sorted(newest)))
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name != key)
    await conn.execute(insert_sql(table, columns, f'ON CONFLICT ("{key}") DO UPDATE SET {changes}'), *values)


async def _say(conn: Connection, tx: Tx) -> None:
    if tx.said:
        await conn.execute(
            _SAY,
            [said.event_id for said in tx.said],
            [said.topic for said in tx.said],
            [said.key for said in tx.said],
            [said.type for said in tx.said],
            [orjson.dumps(said.headers).decode() for said in tx.said],
            [said.body for said in tx.said],
        )


async def _request(conn: Connection, tx: Tx) -> None:
    if tx.requested:
        await conn.execute(
            _REQUEST,
            [job.id for job in tx.requested],
            [job.kind for job in tx.requested],
            [job.key for job in tx.requested],
            [job.dedupe for job in tx.requested],
            [orjson.dumps(job.payload).decode() for job in tx.requested],
            [job.due_at for job in tx.requested],
            [job.correlation_id for job in tx.requested],
        )
