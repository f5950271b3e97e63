"""The unit of work, in memory: what handlers and commands load, save and say. It issues no SQL; `flush` does.

One `Tx` serves a whole batch. Rows are loaded and locked before the first handler runs, by the keys that the messages
declare; handlers work on objects in memory; everything they changed is written once. What a failed handler did
is undone from the journal, so that its neighbours in the batch are not touched.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Table

from shared.contracts.envelope import Envelope, Fact
from shared.contracts.topics import topic_of
from shared.ids import uuid7
from shared.mapping import Mapping

T = TypeVar("T")
MAX_FACT_BYTES = 512 * 1024
"""A fact larger than this would be refused by a broker with default limits (1 MiB a record)."""


class Missing(LookupError):
    """The aggregate is not there (or its key was not declared with the message)."""


class NotLocked(RuntimeError):
    """A fact was emitted about an aggregate that this transaction holds no lock on: its order would not be kept."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What is being handled: the ids that its facts and jobs carry on."""

    correlation_id: str
    causation_id: str


@dataclass(slots=True)
class Said:
    """A fact on its way to the event log."""

    event_id: UUID
    topic: str
    key: str
    type: str
    headers: dict[str, str]
    body: str


@dataclass(slots=True)
class Requested:
    """A job on its way to the `jobs` table; `due_at` in UTC."""

    id: UUID
    kind: str
    key: str
    dedupe: str | None
    payload: dict[str, Any]
    due_at: datetime
    correlation_id: str


@dataclass(slots=True)
class Loaded:
    """One mapping's part of the identity map."""

    base: dict[str, Any] = field(default_factory=dict)
    current: dict[str, Any] = field(default_factory=dict)
    added: dict[str, Any] = field(default_factory=dict)
    by_owner: dict[str, list[str]] = field(default_factory=dict)


class Tx:
    """The only pen: `get`, `find`, `all`, `save`, `add`, `insert`, `upsert`, `emit`, `request`. `now` is UTC and the same for the batch."""

    def __init__(self, source: str, now: datetime, cause: Cause) -> None:
        self.source, self.now, self.cause = source, now, cause
        self.loaded: dict[Mapping[Any], Loaded] = {}
        self.inserted: dict[Table, list[dict[str, Any]]] = {}
        self.upserted: dict[Table, list[dict[str, Any]]] = {}
        self.said: list[Said] = []
        self.requested: list[Requested] = []
        self.locked: set[str] = set()
        self._undo: list[Callable[[], object]] = []

    # -- what handlers and commands use

    def find(self, mapping: Mapping[T], key: object) -> T | None:
        loaded = self._of(mapping)
        found: T | None = loaded.added.get(str(key)) or loaded.current.get(str(key))
        return found

    def get(self, mapping: Mapping[T], key: object) -> T:
        """Raises Missing."""
        found = self.find(mapping, key)
        if found is None:
            raise Missing(f"no {mapping.table.name} {key}")
        return found

    def all(self, mapping: Mapping[T], owner: object) -> list[T]:
        """The children of an aggregate, oldest first."""
        return [self.get(mapping, key) for key in self._of(mapping).by_owner.get(str(owner), ())]

    def save(self, mapping: Mapping[T], entity: T) -> None:
        """A changed aggregate, loaded or added before; saving an equal one writes nothing."""
        loaded, key = self._of(mapping), mapping.key_of(entity)
        part = loaded.added if key in loaded.added else loaded.current
        if key not in part:
            raise Missing(f"{mapping.table.name} {key} was neither loaded nor added")
        before = part[key]
        self._undo.append(lambda: part.__setitem__(key, before))
        part[key] = entity

    def add(self, mapping: Mapping[T], entity: T) -> None:
        """A new aggregate, or a new child of one."""
        loaded, key, owner = self._of(mapping), mapping.key_of(entity), mapping.owner_of(entity)
        if key in loaded.added or key in loaded.current:
            raise ValueError(f"{mapping.table.name} {key} is there already")
        loaded.added[key] = entity
        siblings = loaded.by_owner.setdefault(owner, [])
        siblings.append(key)
        self._undo.append(lambda: loaded.added.pop(key))
        self._undo.append(siblings.pop)
        self._lock(owner)

    def insert(self, table: Table, **row: Any) -> None:
        """A row that is only ever appended: a timeline entry, a log line."""
        rows = self.inserted.setdefault(table, [])
        rows.append(row)
        self._undo.append(rows.pop)

    def upsert(self, table: Table, **row: Any) -> None:
        """A row known by its primary key whose newest state wins, whatever it was before: no lock, no version."""
        rows = self.upserted.setdefault(table, [])
        rows.append(row)
        self._undo.append(rows.pop)

    def emit(self, *facts: Fact) -> None:
        """Raises NotLocked, LookupError for a fact that no topic declares, ValueError for one that is too large."""
        for fact in facts:
            if not fact.is_whole and fact.key not in self.locked:
                raise NotLocked(f"{fact.type} is about {fact.key}, which this transaction has not locked")
            self.said.append(self._envelope(fact))
            self._undo.append(self.said.pop)

    def request(
        self,
        kind: str,
        key: object,
        payload: dict[str, Any] | None = None,
        *,
        dedupe: str | None = None,
        due_at: datetime | None = None,
    ) -> UUID:
        """A job of `kind` about aggregate `key`, at `due_at` (default: now). A `dedupe` seen before makes it a no-op."""
        job = Requested(
            uuid7(), kind, str(key), dedupe, payload or {}, due_at or self.now, self.cause.correlation_id
        )
        self.requested.append(job)
        self._undo.append(self.requested.pop)
        return job.id

    def new_id(self) -> UUID:
        return uuid7()

    # -- what the plumbing uses

    @property
    def due(self) -> set[str]:
        """The kinds of those jobs asked for that are due at once."""
        return {job.kind for job in self.requested if job.due_at <= self.now}

    def begin_message(self, cause: Cause) -> None:
        self.cause = cause
        self._undo.clear()

    def undo_message(self) -> None:
        while self._undo:
            self._undo.pop()()

    def put(self, mapping: Mapping[T], entity: T) -> None:
        """A row as it was read under lock."""
        loaded, key, owner = self._of(mapping), mapping.key_of(entity), mapping.owner_of(entity)
        loaded.base[key] = loaded.current[key] = entity
        loaded.by_owner.setdefault(owner, []).append(key)
        self.locked.add(owner)

    def _lock(self, key: str) -> None:
        if key not in self.locked:
            self.locked.add(key)
            self._undo.append(lambda: self.locked.discard(key))

    def _of(self, mapping: Mapping[Any]) -> Loaded:
        loaded = self.loaded.get(mapping)
        if loaded is None:
            loaded = self.loaded[mapping] = Loaded()
        return loaded

    def _envelope(self, fact: Fact) -> Said:
        body = fact.model_dump_json()
        if (size := len(body.encode())) > MAX_FACT_BYTES:
            raise ValueError(f"{fact.type} has {size} bytes, {MAX_FACT_BYTES} at most")
        envelope = Envelope(
            id=uuid7(),
            type=fact.type,
            version=fact.version,
            source=self.source,
            subject=fact.key,
            time=self.now,
            correlation_id=self.cause.correlation_id,
            causation_id=self.cause.causation_id,
        )
        return Said(envelope.id, topic_of(type(fact)).name, fact.key, fact.type, envelope.headers(), body)
