"""The unit of work against PostgreSQL: rows are locked and loaded once, and written once, by one statement.

Order of locks, everywhere: inbox or job rows, then aggregates by table name and key, then inserts. Two consumers and the
mutations take them in this order, so they wait for one another but never in a circle.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Table

from shared.db import Connection
from shared.mapping import Mapping, insert_sql, recordset, update_sql
from shared.tx import Loaded, Tx

Keys = Dict[Mapping[Any], set[Any]]

_SAY = """
INSERT INTO event_log (event_id, topic, key, type, headers, body)
SELECT e.event_id, e.topic, e.key, e.type, e.headers, convert_to(e.body, 'UTF8')
FROM ROWS FROM (json_to_recordset($1::json) AS (event_id uuid, topic text, key text, type text, headers jsonb, body text))
    WITH ORDINALITY AS e(event_id, topic, key, type, headers, body, n)
ORDER BY e.n
RETURNING id, day
"""
_PEND = "INSERT INTO outbox_pending (id, day) SELECT id, day FROM said ORDER BY id"
_REQUEST = """
INSERT INTO jobs (id, kind, key, dedupe, payload, due_at, first_due_at, correlation_id)
SELECT j.id, j.kind, j.key, j.dedupe, j.payload, j.due_at, j.due_at, j.correlation_id
FROM ROWS FROM (json_to_recordset($1::json) AS
    (id uuid, kind text, key text, dedupe text, payload jsonb, due_at timestamptz, correlation_id text))
    WITH ORDINALITY AS j(id, kind, key, dedupe, payload, due_at, correlation_id, n)
ORDER BY j.dedupe, j.n
ON CONFLICT (dedupe) DO NOTHING
"""
"""By `dedupe`, so that two who ask for the same wait for one another and never in a circle; their turn goes by due time and id."""


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
            yield _insert("added", mapping.table, mapping.columns, list(loaded.added.values()))
    for table, rows in tx.inserted.items():
        for n, (columns, alike) in enumerate(_by_columns(rows)):
            yield _insert(f"inserted{n}", table, columns, alike)
    for table, rows in sorted(tx.upserted.items(), key=lambda item: item[0].name):
        yield from _upsert(table, rows)
    if tx.said:
        yield Write("said", _SAY, [recordset(tx.said)])
        yield Write("pending", _PEND)
    if tx.requested:
        yield Write("requested", _REQUEST, [recordset(tx.requested)])


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
    rows = [
        {name: getattr(now, name) for name in (mapping.key, *columns)} | {"version": before.version}
        for before, now in dirty
    ]
    text = update_sql(mapping.table, mapping.key, columns) + " RETURNING 1"
    yield Write(f"updated_{mapping.table.name}", text, [recordset(rows)], touches=len(dirty))


def _upsert(table: Table, rows: Sequence[Dict[str, Any]]) -> Iterator[Write]:
    """In key order, so that two batches wait for one another; of equal keys what the last row says wins.

    Rows that name other columns are a part of their own: a circle between two such parts is a race that is lost and run again.
    """
    key = next(iter(table.primary_key.columns)).name
    newest: dict[str, dict[str, Any]] = {}
    for row in rows:
        newest[str(row[key])] = {**newest.get(str(row[key]), {}), **row}
    for n, (columns, alike) in enumerate(_by_columns([newest[name] for name in sorted(newest)])):
        changes = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name != key)
        on_conflict = f'ON CONFLICT ("{key}") DO UPDATE SET {changes}'
        yield _insert(f"upserted{n}", table, columns, alike, on_conflict)


def _by_columns(rows: Sequence[Dict[str, Any]]) -> Iterable[tuple[tuple[str, ...], list[Dict[str, Any]]]]:
    """A row that leaves a column out leaves it alone, or to its default: it goes with its like."""
    alike: dict[tuple[str, ...], list[Dict[str, Any]]] = {}
    for row in rows:
        alike.setdefault(tuple(row), []).append(row)
    return alike.items()


def _insert(
    done: str, table: Table, columns: tuple[str, ...], rows: Sequence[Any], on_conflict: str = ""
) -> Write:
    return Write(f"{done}_{table.name}", insert_sql(table, columns, on_conflict), [recordset(rows)])


@cache
def _together(parts: tuple[tuple[str, str, bool], ...]) -> str:
    """The parts as one statement that answers how many rows the counted ones touched.

    PostgreSQL runs every part to its end, whether it is selected from or not, but promises no order (today it is the last
    first): only what a part reads from another, and the locks that `load` has taken, come before it.
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
