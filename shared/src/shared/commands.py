"""A mutation: the same unit of work with a batch of one, safe to repeat under the caller's Idempotency-Key."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from shared.crash import crash_point
from shared.db import RETRYABLE, Database
from shared.errors import Code, Refusal
from shared.flush import Write, flush, load
from shared.handlers import MAX_RACES
from shared.mapping import Mapping
from shared.tx import Cause, Tx

_REMEMBER = """
INSERT INTO idempotency_keys (principal, key, field, arguments_hash, aggregate_id, refusal)
VALUES ($1, $2, $3, $4, $5, $6)
"""
_RECALL = """
SELECT arguments_hash, aggregate_id, refusal FROM idempotency_keys WHERE principal = $1 AND key = $2 AND field = $3
"""

Command = Callable[[Tx], Awaitable[str]]
"""Loads, decides, saves, emits; answers the aggregate's id. Raises Refusal."""


@dataclass(frozen=True, slots=True)
class Once:
    """What makes a mutation repeatable: who calls, under which key, which field, with what arguments."""

    principal: str
    key: str
    field: str
    arguments: Any

    def arguments_hash(self) -> bytes:
        """The same for the same values by name, in whatever order an input type lists its fields."""
        plain = orjson.loads(orjson.dumps(self.arguments, default=str))
        return hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).digest()


class _Repeated(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Locking:
    """A command, and the rows that it works on: locked and loaded before it runs."""

    command: Command
    loads: tuple[tuple[Mapping[Any], Sequence[str]], ...]


async def execute_prepared(
    db: Database,
    service: str,
    prepare: Callable[[], Awaitable[Command | Locking]],
    *,
    correlation_id: str,
    once: Once | None = None,
) -> str:
    """`execute` for a command that must read first (prices); only then is it known what it locks, if anything.

    A Refusal of the preparation is remembered like the command's own, and a repeat is answered by what the first try came
    to, whatever its preparation finds now. Raises Refusal: SERVICE_UNAVAILABLE is not remembered, for its caller is told to repeat.
    """
    try:
        prepared = await prepare()
    except Refusal as refusal:
        if refusal.code is Code.SERVICE_UNAVAILABLE:
            known = await _recall(db, once) if once is not None else None
            if known is None:
                raise
            return known
        prepared = _refusing(refusal)
    locking = prepared if isinstance(prepared, Locking) else Locking(prepared, ())
    return await execute(
        db, service, locking.command, *locking.loads, correlation_id=correlation_id, once=once
    )


def _refusing(refusal: Refusal) -> Command:
    async def refuse(_: Tx) -> str:
        raise refusal

    return refuse


async def execute(
    db: Database,
    service: str,
    command: Command,
    *loads: tuple[Mapping[Any], Sequence[str]],
    correlation_id: str,
    once: Once | None = None,
) -> str:
    """Run the command in one transaction and answer its aggregate's id.

    Raises Refusal: the command's own, a repeat's stored one, or IDEMPOTENCY_CONFLICT for other arguments under the key.
    """
    for _ in range(MAX_RACES):
        try:
            return await _attempt(db, service, command, loads, correlation_id, once)
        except RETRYABLE:
            continue
        except _Repeated:
            break
    known = await _recall(db, once) if once is not None else None
    if known is None:
        raise RuntimeError(f"lost {MAX_RACES} races for a row lock")
    return known


async def _attempt(
    db: Database,
    service: str,
    command: Command,
    loads: Sequence[tuple[Mapping[Any], Sequence[str]]],
    correlation_id: str,
    once: Once | None,
) -> str:
    tx = Tx(service, datetime.now(UTC), Cause(correlation_id, correlation_id))
    refusal: Refusal | None = None
    answer = ""
    # A command that locks nothing writes one statement, which is a transaction by itself.
    async with db.transaction() if loads else db.connection() as conn:
        await load(conn, tx, {mapping: set(keys) for mapping, keys in loads})
        try:
            answer = await command(tx)
        except Refusal as refused:
            refusal = refused
            tx = Tx(service, tx.now, tx.cause)
        try:
            await flush(conn, tx, *([_remembering(once, answer, refusal)] if once is not None else ()))
        except asyncpg.UniqueViolationError as violation:
            if violation.constraint_name == "idempotency_keys_pkey":
                raise _Repeated from violation
            raise
        crash_point("command_flushed")
    if refusal is not None:
        raise refusal
    crash_point("command_committed")
    db.announce(tx.locked, said=bool(tx.said), due=tx.due)
    return answer


def _remembering(once: Once, answer: str, refusal: Refusal | None) -> Write:
    """Fails for a key that was used before, and the whole statement with it; a concurrent twin is waited for."""
    stored = refusal and {"code": refusal.code, "message": refusal.message, "details": refusal.details}
    arguments = (once.principal, once.key, once.field, once.arguments_hash(), answer or None, stored)
    return Write("remembered", _REMEMBER, arguments)


async def _recall(db: Database, once: Once) -> str | None:
    """What the key stands for, None while it stands for nothing. Raises Refusal: the stored one, IDEMPOTENCY_CONFLICT."""
    async with db.connection() as conn:
        row = await conn.fetchrow(_RECALL, once.principal, once.key, once.field)
    if row is None:
        return None
    if row["arguments_hash"] != once.arguments_hash():
        raise Refusal(
            Code.IDEMPOTENCY_CONFLICT, "this Idempotency-Key was used with other arguments", field=once.field
        )
    if row["refusal"] is not None:
        stored = row["refusal"]
        raise Refusal(Code(stored["code"]), stored["message"], **stored["details"])
    return str(row["aggregate_id"])


def uuid_or(value: str, refusal: Refusal) -> UUID:
    """The id as a UUID; what is none cannot name anything of ours, so the refusal is the same as for an unknown one."""
    try:
        return UUID(value)
    except ValueError:
        raise refusal from None
