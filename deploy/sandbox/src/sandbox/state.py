"""Everything that must survive a restart, in one SQLite database on one connection.

Promises: what happens inside `transaction()` is kept whole or not at all; with a file it is kept across restarts of the
process (`synchronous=OFF`: not across a power cut, which a stand-in need not survive). Two processes cannot open one file.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

SCHEMA_VERSION = 2
ANY_TIME = (0, 2**53)

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE resources (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, created INTEGER NOT NULL,
    body BLOB NOT NULL, UNIQUE (kind, id));
CREATE TABLE links (
    kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (kind, name, value, seq)) WITHOUT ROWID;
CREATE TABLE effects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, provider TEXT NOT NULL, kind TEXT NOT NULL,
    resource TEXT NOT NULL, order_id TEXT, amount INTEGER, currency TEXT, recipient TEXT, idempotency_key TEXT,
    payload BLOB NOT NULL);
CREATE INDEX effects_by_kind ON effects (kind, seq);
CREATE INDEX effects_by_order ON effects (order_id, seq);
CREATE TRIGGER effects_are_final BEFORE UPDATE ON effects BEGIN SELECT RAISE(ABORT, 'effects are append-only'); END;
CREATE TRIGGER effects_are_kept BEFORE DELETE ON effects BEGIN SELECT RAISE(ABORT, 'effects are append-only'); END;
CREATE TABLE requests (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, provider TEXT NOT NULL, method TEXT NOT NULL,
    path TEXT NOT NULL, status INTEGER NOT NULL, idempotency_key TEXT);
CREATE TABLE idempotency (
    key TEXT PRIMARY KEY, path TEXT NOT NULL, parameters BLOB NOT NULL, status INTEGER NOT NULL, body BLOB NOT NULL,
    request_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE webhooks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT NOT NULL, event TEXT NOT NULL, order_id TEXT,
    body BLOB NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, delivered INTEGER NOT NULL DEFAULT 0);
CREATE INDEX webhooks_by_order ON webhooks (order_id);
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, due REAL NOT NULL, kind TEXT NOT NULL, argument TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0);
"""

FAULTS_SCHEMA = """
CREATE TABLE fault_rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, kinds TEXT NOT NULL, times INTEGER, remaining INTEGER,
    probability REAL NOT NULL, seed INTEGER NOT NULL, seconds REAL);
CREATE TABLE fault_calls (
    rule INTEGER NOT NULL, name TEXT NOT NULL, calls INTEGER NOT NULL, PRIMARY KEY (rule, name)) WITHOUT ROWID;
CREATE TABLE injected_faults (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, rule INTEGER NOT NULL, target TEXT NOT NULL,
    kind TEXT NOT NULL, nth INTEGER NOT NULL, about TEXT NOT NULL, idempotency_key TEXT);
CREATE TRIGGER injected_faults_are_final BEFORE UPDATE ON injected_faults
BEGIN SELECT RAISE(ABORT, 'injected faults are append-only'); END;
CREATE TRIGGER injected_faults_are_kept BEFORE DELETE ON injected_faults
BEGIN SELECT RAISE(ABORT, 'injected faults are append-only'); END;
"""
"""What version 2 added to version 1."""

FIND = """
SELECT r.body FROM resources r
WHERE r.kind = ? AND r.created BETWEEN ? AND ? AND r.seq < ? ORDER BY r.seq DESC LIMIT ?
"""
FIND_LINKED = """
SELECT r.body FROM links l JOIN resources r ON r.seq = l.seq
WHERE l.kind = ? AND l.name = ? AND l.value = ? AND r.created BETWEEN ? AND ? AND l.seq < ?
ORDER BY l.seq DESC LIMIT ?
"""


class State:
    """Provider objects ("resources") as JSON, and the connection that the record, the webhooks and the jobs share."""

    def __init__(self, path: str = "") -> None:
        """Open or create the file at `path` (its folder too); empty: memory.

        Raises RuntimeError when the file is of another schema version, sqlite3.OperationalError when it is in use.
        """
        if path:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=0)
        # An exclusive lock keeps a second process out and saves the shared-memory index.
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=OFF"):
            self.db.execute(f"PRAGMA {pragma}")
        (version,) = self.db.execute("PRAGMA user_version").fetchone()
        if version not in range(SCHEMA_VERSION + 1):
            self.db.close()
            raise RuntimeError(
                f"{path} holds sandbox state of version {version}; this sandbox reads {SCHEMA_VERSION}"
            )
        if version < SCHEMA_VERSION:
            missing = FAULTS_SCHEMA if version else SCHEMA + FAULTS_SCHEMA
            self.db.executescript(f"BEGIN; {missing} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    def close(self) -> None:
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. The block must not await: the connection is shared by everything in the process."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def meta(self, name: str) -> str | None:
        row = self.db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_meta(self, name: str, value: str) -> None:
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def insert(
        self,
        kind: str,
        resource_id: str,
        body: Mapping[str, Any],
        *,
        created: int,
        links: Mapping[str, str] | None = None,
    ) -> None:
        """Store a new resource. `created`: UTC epoch seconds. `links`: names and values by which `find` reaches it;
        they never change afterwards.
        """
        seq = self.db.execute(
            "INSERT INTO resources (kind, id, created, body) VALUES (?, ?, ?, ?)",
            (kind, resource_id, created, orjson.dumps(body)),
        ).lastrowid
        for name, value in (links or {}).items():
            self.db.execute("INSERT INTO links VALUES (?, ?, ?, ?)", (kind, name, value, seq))

    def save(self, kind: str, resource_id: str, body: Mapping[str, Any]) -> None:
        self.db.execute(
            "UPDATE resources SET body = ? WHERE kind = ? AND id = ?", (orjson.dumps(body), kind, resource_id)
        )

    def get(self, kind: str, resource_id: str) -> dict[str, Any] | None:
        row = self.db.execute(
            "SELECT body FROM resources WHERE kind = ? AND id = ?", (kind, resource_id)
        ).fetchone()
        return orjson.loads(row[0]) if row else None

    def find(
        self,
        kind: str,
        *,
        link: tuple[str, str] | None = None,
        created: tuple[int, int] = ANY_TIME,
        after: str | None = None,
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Newest first. `created`: first and last UTC epoch second; `after`: the id that ended the page before."""
        before = self._seq(kind, after) if after else 2**62
        if link is None:
            rows = self.db.execute(FIND, (kind, *created, before, limit))
        else:
            rows = self.db.execute(FIND_LINKED, (kind, *link, *created, before, limit))
        return [orjson.loads(row[0]) for row in rows]

    def _seq(self, kind: str, resource_id: str) -> int:
        row = self.db.execute(
            "SELECT seq FROM resources WHERE kind = ? AND id = ?", (kind, resource_id)
        ).fetchone()
        return int(row[0]) if row else 0
