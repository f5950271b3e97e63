"""Dead letters as an operator sees them: found, shown, mended and marked for redrive. `redrive` runs what is marked.

Nothing here handles a fact: a mark says who asked and when, and the service's own process does the rest in its own time.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import orjson

from shared.db import Database
from shared.inbox import Record

MAX_LETTERS = 10_000
COLUMNS = """
id, topic, partition, "offset", key, headers, body, event_id, aggregate_key, blocks_key, waiting, reason, failed_at, mended,
redrive_by, redrive_at
"""
_FOUND = f"""
SELECT {COLUMNS} FROM dead_letters
WHERE consumer = $1 AND ($2::bigint[] IS NULL OR id = ANY($2)) AND ($3::text IS NULL OR topic = $3)
  AND ($4::jsonb IS NULL OR headers @> $4) AND ($5::text IS NULL OR aggregate_key = $5 OR key = convert_to($5, 'UTF8'))
  AND ($6::text IS NULL OR position(lower($6) IN lower(reason)) > 0) AND ($7::timestamptz IS NULL OR failed_at >= $7)
ORDER BY id LIMIT $8
"""  # noqa: S608 - constants of this module
_MARK = """
UPDATE dead_letters SET redrive_by = $3, redrive_at = now()
WHERE consumer = $1 AND id = ANY($2::bigint[]) AND redrive_at IS NULL
"""
_MEND = """
UPDATE dead_letters SET mended = $3, redrive_by = $4, redrive_at = now() WHERE consumer = $1 AND id = $2
"""
_AUDIT = "SELECT * FROM redrives WHERE consumer = $1 AND letter_id = $2 ORDER BY id DESC LIMIT 20"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters: every condition that is given must hold. `since` is UTC; `reason` is a part of the text."""

    ids: tuple[int, ...] = ()
    topic: str | None = None
    type: str | None = None
    key: str | None = None
    reason: str | None = None
    since: datetime | None = None

    def is_empty(self) -> bool:
        return self == Filter()


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. `record` is the original; `mended` is what to handle instead, if anybody has mended it."""

    id: int
    record: Record
    mended: Record | None
    event_id: UUID | None
    aggregate_key: str | None
    blocks_key: bool
    waiting: bool
    reason: str
    failed_at: datetime
    redrive_by: str | None
    redrive_at: datetime | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        where = row["topic"], row["partition"], row["offset"]
        mended = row["mended"]
        return cls(
            row["id"],
            Record(*where, row["key"], row["body"], headers_of(row["headers"])),
            mended and Record(*where, *_parts_of(mended)),
            row["event_id"],
            row["aggregate_key"],
            row["blocks_key"],
            row["waiting"],
            row["reason"],
            row["failed_at"],
            row["redrive_by"],
            row["redrive_at"],
        )

    @property
    def type(self) -> str:
        """What the record calls itself; empty where it says nothing."""
        value = dict(self.record.headers).get("ce_type")
        return (value or b"").decode(errors="replace")


async def find(db: Database, consumer: str, wanted: Filter, limit: int) -> list[Letter]:
    """Oldest first, MAX_LETTERS at most."""
    async with db.connection() as conn:
        rows = await conn.fetch(
            _FOUND,
            consumer,
            list(wanted.ids) or None,
            wanted.topic,
            None if wanted.type is None else [["ce_type", _base64(wanted.type.encode())]],
            wanted.key,
            wanted.reason,
            wanted.since,
            min(limit, MAX_LETTERS),
        )
    return [Letter.of(row) for row in rows]


async def mark(db: Database, consumer: str, ids: Sequence[int], by: str) -> int:
    """Ask for a redrive of these letters; answers how many were not marked before. Safe to repeat."""
    async with db.connection() as conn:
        done = await conn.execute(_MARK, consumer, list(ids), by)
    return int(done.rpartition(" ")[2])


async def mend(db: Database, consumer: str, letter: Letter, mended: Record, by: str) -> bool:
    """Ask for a redrive of this letter with other bytes; its own stay. False when it is not there any more."""
    async with db.connection() as conn:
        return (await conn.execute(_MEND, consumer, letter.id, kept(mended), by)) == "UPDATE 1"


async def audit(db: Database, consumer: str, letter_id: int) -> list[Mapping[str, Any]]:
    """The letter's redrives, newest first; also those of a letter that is gone."""
    async with db.connection() as conn:
        return list(await conn.fetch(_AUDIT, consumer, letter_id))


def changed(
    record: Record,
    *,
    body: bytes | None = None,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Record:
    """The record with another body or key; of the headers those that are named are replaced or added, the others stay."""
    named = headers or {}
    kept_headers = [(name, value) for name, value in record.headers if name not in named]
    return replace(
        record,
        value=record.value if body is None else body,
        key=record.key if key is None else key.encode(),
        headers=(*kept_headers, *((name, value.encode()) for name, value in named.items())),
    )


def kept(record: Record) -> dict[str, Any]:
    """The record's own bytes as JSON."""
    return {"key": _base64(record.key), "body": _base64(record.value), "headers": record.kept_headers()}


def dumped(record: Record) -> str:
    return orjson.dumps(kept(record)).decode()


def headers_of(stored: Sequence[Sequence[Any]]) -> tuple[tuple[str, bytes | None], ...]:
    """The opposite of `Record.kept_headers`."""
    return tuple((_name_of(name), _bytes(value)) for name, value in stored)


def _parts_of(
    stored: Mapping[str, Any],
) -> tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]:
    return _bytes(stored["key"]), _bytes(stored["body"]), headers_of(stored["headers"])


def _name_of(stored: str | Mapping[str, str]) -> str:
    if isinstance(stored, str):
        return stored
    return base64.b64decode(stored["base64"]).decode(errors="surrogateescape")


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else base64.b64decode(value)
