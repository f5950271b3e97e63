"""The unit of work against PostgreSQL: rows are locked and loaded once, and written once, from arrays, by one statement.

Order of locks, everywhere: inbox or job rows, then aggregates by table name and key, then inserts. Two consumers and the
mutations take them in this order, so they wait for one another but never in a circle.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from sqlalchemy import Table

from shared.db import Connection
from shared.mapping import Mapping, arrays, insert_sql, update_sql
from shared.tx import Loaded, Said, Tx

Keys = Dict[Mapping[Any], set[Any]]

_SAY = """
INSERT INTO event_log (event_id, topic, key, type, headers, body)
SELECT e.event_id, e.topic, e.key, e.type, e.headers::jsonb, e.body
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[])
    WITH ORDINALITY AS e(event_id, topic, key, type, headers, body, n)
ORDER BY e.n
RETURNING id, day
"""
_PEND = "INSERT INTO outbox_pending (id, day) SELECT id, day FROM said ORDER BY id"
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


@dataclass(frozen=True, slots=True)
class Write:
    """A part of the one statement: its name there, its text with parameters from $1, and how many rows it must touch."""

    name: str
    text: str
    arguments: Sequence[Any] = ()
    touches: int | None = None


async def load(conn: Connection, tx: Tx, keys: Keys) -> None:
    """Lock and load the rows that the messages declared. A mapping with no keys is known to be empty."""
    for mapping in sorted(keys, key=lambda m: m.table.name):
        for row in await conn.fetch(mapping.lock_sql, sorted(keys[mapping])):
            tx.put(mapping, mapping.entity_of(row))


async def flush(conn: Connection, tx: Tx, *alongside: Write) -> None:
    """Write what the batch changed, and what goes `alongside`: updates, new rows, facts, jobs, all in one statement.

    One round trip instead of four to seven; without a transaction around it, it is one. Raises what PostgreSQL raises, and
    ConcurrentUpdate, which a transaction around it has to undo.
    """
    if not (writes := [*_writes(tx), *alongside]):
        return
    statement = _together(tuple((write.name, write.text, write.touches is not None) for write in writes))
    arguments = [argument for write in writes for argument in write.arguments]
    touched = await conn.fetchrow(statement, *arguments) or {}
    for write in writes:
        if write.touches is not None and touched[write.name] != write.touches:
            raise ConcurrentUpdate(f"{write.name}: {touched[write.name]} rows, expected {write.touches}")


def _writes(tx: Tx) -> Iterator[Write]:
    for mapping, loaded in sorted(tx.loaded.items(), key=lambda item: item[0].table.name):
        yield from _update(mapping, loaded)
        if loaded.added:
            rows = ([getattr(entity, name) for name in mapping.columns] for entity in loaded.added.values())
            yield _insert("added", mapping.table, mapping.columns, rows)
    for table, inserted in tx.inserted.items():
        if inserted:
            columns = tuple(inserted[0])
            yield _insert("inserted", table, columns, ([row[name] for name in columns] for row in inserted))
    for table, upserted in sorted(tx.upserted.items(), key=lambda item: item[0].name):
        if upserted:
            yield _upsert(table, upserted)
    if tx.said:
        yield _say(tx.said)
        yield Write("pending", _PEND)
    if tx.requested:
        yield _request(tx)


def _update(mapping: Mapping[Any], loaded: Loaded) -> Iterator[Write]:
    dirty = []
    for key, now in loaded.current.items():
        before = loaded.base[key]
        if now is not before and (changed := mapping.changed(before, now) - {"version"}):
            mapping.changing |= changed
            dirty.append((before, now))
    if not dirty:
        return
    columns = tuple(sorted(mapping.changing))
    rows = (
        [getattr(now, mapping.key), before.version, *(getattr(now, name) for name in columns)]
        for before, now in dirty
    )
    text = update_sql(mapping.table, mapping.key, columns) + " RETURNING 1"
    values = arrays(mapping.table, (mapping.key, "version", *columns), rows)
    yield Write(f"updated_{mapping.table.name}", text, values, touches=len(dirty))


def _insert(
    done: str, table: Table, columns: tuple[str, ...], rows: Iterable[Sequence[Any]], on_conflict: str = ""
) -> Write:
    text = insert_sql(table, columns, on_conflict)
    return Write(f"{done}_{table.name}", text, arrays(table, columns, rows))


def _upsert(table: Table, rows: Sequence[Dict[str, Any]]) -> Write:
    """In key order, so that two batches wait for one another and never in a circle; of equal keys the last row wins."""
    key = next(iter(table.primary_key.columns)).name
    newest = {str(row[key]): row for row in rows}
    columns = tuple(rows[0])
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name != key)
    values = ([newest[k][name] for name in columns] for k in sorted(newest))
    return _insert("upserted", table, columns, values, f'ON CONFLICT ("{key}") DO UPDATE SET {changes}')


def _say(facts: Sequence[Said]) -> Write:
    values = [
        [said.event_id for said in facts],
        [said.topic for said in facts],
        [said.key for said in facts],
        [said.type for said in facts],
        [orjson.dumps(said.headers).decode() for said in facts],
        [said.body for said in facts],
    ]
    return Write("said", _SAY, values)


def _request(tx: Tx) -> Write:
    values = [
        [job.id for job in tx.requested],
        [job.kind for job in tx.requested],
        [job.key for job in tx.requested],
        [job.dedupe for job in tx.requested],
        [orjson.dumps(job.payload).decode() for job in tx.requested],
        [job.due_at for job in tx.requested],
        [job.correlation_id for job in tx.requested],
    ]
    return Write("requested", _REQUEST, values)


@cache
def _together(parts: tuple[tuple[str, str, bool], ...]) -> str:
    """The parts as one statement that answers how many rows the counted ones touched.

    PostgreSQL runs every part to its end, whether it is selected from or not.
    """
    named, taken = [], 0
    for name, text, _ in parts:
        named.append(f"{name} AS ({_from(taken, text)})")
        taken += len(set(_PARAMETER.findall(text)))
    counts = [f"(SELECT count(*) FROM {name}) AS {name}" for name, _, is_counted in parts if is_counted]  # noqa: S608 - names come from our own Table objects
    return f"WITH {', '.join(named)} SELECT {', '.join(counts) or 'true'}"


_PARAMETER = re.compile(r"\$(\d+)")


def _from(taken: int, text: str) -> str:
    return _PARAMETER.sub(lambda parameter: f"${int(parameter[1]) + taken}", text)
