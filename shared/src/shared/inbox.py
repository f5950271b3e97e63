"""Hearing facts exactly once: inbox, handlers and outbox in one transaction per batch, and what cannot be handled kept whole.

A record that is no fact we can read lies in `dead_letters` and blocks nothing. A valid fact whose handler fails lies there
too and holds back its key's successors, in order; all other keys flow. Redelivery is harmless: the inbox has seen it.
"""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import structlog

from shared import telemetry
from shared.contracts.envelope import FACTS, Envelope, InvalidFact, parse_fact
from shared.contracts.topics import TOPICS
from shared.crash import crash_point
from shared.db import HOPELESS, Connection, Database, describe
from shared.flush import flush, load
from shared.handlers import Delivery, Handlers, HeldBehind, StopConsuming, keys_of, run, transact
from shared.tx import Cause, Tx

log = structlog.get_logger(__name__)

MAX_RUN_OF_FAILURES = 25
"""So many valid facts failing one after the other stop the consumer."""

_TOPIC_OF = {fact.type: topic.name for topic in TOPICS for fact in topic.facts}
"""Whoever may write to one topic must not speak in the name of another's owner."""

_NULL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""A null character as JSON escapes it; after an escaped backslash, `u0000` is only text."""

_CLAIM = """
WITH fresh AS (
    INSERT INTO inbox (event_id, consumer)
    SELECT id, $2 FROM unnest($1::uuid[]) AS id ORDER BY id
    ON CONFLICT DO NOTHING RETURNING event_id
)
SELECT ARRAY(SELECT event_id FROM fresh) AS fresh,
       ARRAY(SELECT DISTINCT aggregate_key FROM dead_letters
             WHERE consumer = $2 AND blocks_key AND aggregate_key = ANY($3::text[])) AS held
"""
_BURY = """
INSERT INTO dead_letters
    (consumer, topic, partition, "offset", key, headers, body, fingerprint, event_id, aggregate_key, blocks_key,
     waiting, reason)
SELECT $1, d.topic, d.partition, d.off, d.key, d.headers::jsonb, d.body, d.fingerprint, d.event_id, d.aggregate_key,
       d.blocks_key, d.waiting, d.reason
FROM unnest($2::text[], $3::int[], $4::bigint[], $5::bytea[], $6::text[], $7::bytea[], $8::bytea[], $9::uuid[],
            $10::text[], $11::boolean[], $12::boolean[], $13::text[])
    WITH ORDINALITY
    AS d(topic, partition, off, key, headers, body, fingerprint, event_id, aggregate_key, blocks_key, waiting,
         reason, n)
ORDER BY d.n
ON CONFLICT (consumer, topic, fingerprint) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Record:
    """A record as the broker gave it; a header's value may be null or any bytes, its name any bytes (as lone surrogates)."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    def text_headers(self) -> dict[str, str]:
        """Those that are not null. Raises InvalidFact for a name or a value that is not UTF-8."""
        try:
            "".join([name for name, _ in self.headers]).encode()
            return {name: value.decode() for name, value in self.headers if value is not None}
        except UnicodeError as malformed:
            raise InvalidFact("a header is not UTF-8") from malformed

    def fingerprint(self) -> bytes:
        """The same for the same record delivered again, even by a broker that starts counting anew."""
        digest = hashlib.sha256(f"{self.topic} {self.partition} {self.offset}".encode())
        names = (name.encode(errors="surrogateescape") for name, _ in self.headers)
        for part in (self.key, self.value, *names, *(value for _, value in self.headers)):
            digest.update(b"-" if part is None else b"%d:" % len(part))
            digest.update(part or b"")
        return digest.digest()

    def kept_headers(self) -> list[tuple[Any, str | None]]:
        """As they are stored: values in base64, and such names as no JSON text can hold as `{"base64": ...}`."""
        return [(_kept_name(name), _base64(value)) for name, value in self.headers]


UNREADABLE = (("\udcff", None),)
"""Stands for headers that the broker's client cannot give us, because the name of one is not UTF-8."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Why a record was not handled; `aggregate_key` is set where it holds that key's successors back.

    One that is `waiting` has not failed: it stands behind an earlier letter of its key.
    """

    record: Record
    reason: str
    event_id: UUID | None = None
    aggregate_key: str | None = None
    waiting: bool = False


class Inbox:
    """One service's inbox: `receive` takes batches of records and returns when they are handled, held or buried."""

    def __init__(self, db: Database, handlers: Handlers) -> None:
        self._db, self._handlers = db, handlers
        self._consumer = handlers.consumer
        self._types = {(fact.type, fact.version) for fact in handlers.by_fact}
        # By topic: each has a consumer of its own, and the good facts of one must not hide the failures of another.
        self._run_of_failures: Counter[str] = Counter()

    async def receive(self, records: Sequence[Record]) -> None:
        """The records of one topic. Raises one of db.UNAVAILABLE or StopConsuming; then nothing of the batch is lost and its offset must stay."""
        deliveries: dict[UUID, Delivery] = {}
        unreadable: list[DeadLetter] = []
        for record in records:
            try:
                delivery = self.parse(record)
            except InvalidFact as invalid:
                unreadable.append(DeadLetter(record, str(invalid)))
            else:
                if delivery is not None:
                    deliveries.setdefault(delivery.id, delivery)
        if unreadable:
            async with self._db.transaction() as conn:
                await self._bury(conn, unreadable)
        if deliveries:
            try:
                await transact(list(deliveries.values()), self._attempt, self._reject)
            except HOPELESS as mismatch:
                raise StopConsuming(f"the code does not fit the schema: {describe(mismatch)}") from mismatch

    def parse(self, record: Record) -> Delivery | None:
        """The record's delivery, or None for a fact that this service does not act on. Raises InvalidFact."""
        envelope = Envelope.from_headers(record.text_headers())
        if _TOPIC_OF.get(envelope.type, record.topic) != record.topic:
            raise InvalidFact(f"{envelope.type} is not said on {record.topic}")
        if (envelope.type, envelope.version) in FACTS and (
            envelope.type,
            envelope.version,
        ) not in self._types:
            return None
        if record.value is None:
            raise InvalidFact("the body is null")
        if _NULL.search(record.value):
            raise InvalidFact("the body has a null character, which no column of ours can hold")
        fact = parse_fact(envelope, record.value)
        if record.key != fact.key.encode():
            raise InvalidFact("the record's key is not the id of what the fact is about")
        handler = self._handlers.by_fact.get(type(fact))
        if handler is None:
            return None
        cause = Cause(envelope.correlation_id, str(envelope.id))
        return Delivery(envelope.id, fact.key, fact, handler, cause, record)

    async def _attempt(self, deliveries: Sequence[Delivery]) -> None:
        tx = Tx(self._consumer, datetime.now(UTC), deliveries[0].cause)
        async with self._db.transaction() as conn:
            fresh, held = await self._claim(conn, deliveries)
            crash_point("inbox_claimed")
            behind = HeldBehind("behind a dead letter of its key")
            failed: list[tuple[Delivery, Exception]] = [(d, behind) for d in fresh if d.key in held]
            live = [delivery for delivery in fresh if delivery.key not in held]
            await load(conn, tx, keys_of(live))
            crash_point("rows_loaded")
            failed += await run(tx, live)
            failures = self._run_after(_topic(deliveries[0]), live, failed)
            crash_point("facts_handled")
            await flush(conn, tx)
            crash_point("facts_flushed")
            await self._bury(conn, [_dead(delivery, error) for delivery, error in failed])
        crash_point("facts_committed")
        self._run_of_failures[_topic(deliveries[0])] = failures
        telemetry.MESSAGES.labels(self._consumer).inc(len(fresh) - len(failed))
        telemetry.HANDLED_AT.labels(self._consumer, deliveries[0].origin.topic).set_to_current_time()
        self._db.announce((delivery.key for delivery in live), said=bool(tx.said), due=tx.due)

    async def _claim(
        self, conn: Connection, deliveries: Sequence[Delivery]
    ) -> tuple[list[Delivery], set[str]]:
        ids = sorted(delivery.id for delivery in deliveries)
        row = await conn.fetchrow(_CLAIM, ids, self._consumer, sorted({d.key for d in deliveries}))
        if row is None:
            raise RuntimeError("the claim always answers one row")
        fresh = set(row["fresh"])
        return [delivery for delivery in deliveries if delivery.id in fresh], set(row["held"])

    async def _reject(self, delivery: Delivery, error: Exception) -> None:
        """The write of this one delivery fails: bury it, and remember that it was heard. Raises StopConsuming."""
        self._run_of_failures[_topic(delivery)] += 1
        _stop_after(self._run_of_failures[_topic(delivery)])
        async with self._db.transaction() as conn:
            fresh, _ = await self._claim(conn, [delivery])
            if fresh:
                await self._bury(conn, [_dead(delivery, error)])
        self._db.announce([delivery.key])

    def _run_after(
        self, topic: str, live: Sequence[Delivery], failed: Sequence[tuple[Delivery, Exception]]
    ) -> int:
        """How many valid facts will have failed one after the other. Raises StopConsuming before any of it is written."""
        verdicts = {id(delivery): isinstance(error, HeldBehind) for delivery, error in failed}
        failures = self._run_of_failures[topic]
        for delivery in live:
            is_held = verdicts.get(id(delivery))
            if is_held is None:
                failures = 0
            elif not is_held:
                failures += 1
                _stop_after(failures)
        return failures

    async def _bury(self, conn: Connection, letters: Iterable[DeadLetter]) -> None:
        rows = [_row(letter) for letter in letters]
        if not rows:
            return
        await conn.execute(_BURY, self._consumer, *map(list, zip(*rows, strict=True)))
        _tell(rows)
        telemetry.DEAD_LETTERS.labels(self._consumer).inc(len(rows))


def _topic(delivery: Delivery) -> str:
    return str(delivery.origin.topic)


def _stop_after(failures: int) -> None:
    if failures >= MAX_RUN_OF_FAILURES:
        raise StopConsuming(f"{failures} valid facts failed one after the other")


def _dead(delivery: Delivery, error: Exception) -> DeadLetter:
    reason = str(error) if isinstance(error, HeldBehind) else describe(error)
    return DeadLetter(delivery.origin, reason, delivery.id, delivery.key, isinstance(error, HeldBehind))


def _row(letter: DeadLetter) -> tuple[Any, ...]:
    record = letter.record
    return (
        record.topic,
        record.partition,
        record.offset,
        record.key,
        orjson.dumps(record.kept_headers()).decode(),
        record.value,
        record.fingerprint(),
        letter.event_id,
        letter.aggregate_key,
        letter.aggregate_key is not None,
        letter.waiting,
        sentence(letter.reason),
    )


def sentence(reason: str) -> str:
    """A reason that a text column can hold: garbage is quoted in some."""
    return reason.encode(errors="replace").decode().replace("\x00", "\ufffd")[:2000]


def _kept_name(name: str) -> str | dict[str, str | None]:
    if name.isascii() and "\x00" not in name:
        return name
    raw = name.encode(errors="surrogateescape")
    try:
        return {"base64": _base64(raw)} if b"\x00" in raw else raw.decode()
    except UnicodeDecodeError:
        return {"base64": _base64(raw)}


def _tell(rows: Sequence[tuple[Any, ...]]) -> None:
    """Each fact that holds its key; of a flood of garbage the first alone: it must not fill the log too."""
    garbage = [row for row in rows if not row[9]]
    for row in [*(row for row in rows if row[9]), *garbage[:1]]:
        log.warning(
            "dead letter",
            topic=row[0],
            partition=row[1],
            offset=row[2],
            key=row[8],
            reason=row[11],
            more=0 if row[9] else len(garbage) - 1,
        )


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()
