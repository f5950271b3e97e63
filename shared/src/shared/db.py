"""A service's own PostgreSQL: one small pool for transactions, one for reads, and the wake-ups between them.

Both speak asyncpg, which costs a third of SQLAlchemy's engine; reads are written as SQLAlchemy Core statements. They have a
pool of their own, since a command may read while it holds a transaction.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import asyncpg
import orjson
from sqlalchemy import Executable

from shared.statements import Row, Statement, compiled, rows

Record = Mapping[str, Any]


class Connection(Protocol):
    """What we use of asyncpg's connection (the library ships no types)."""

    async def fetch(self, query: str, *args: Any) -> list[Record]: ...
    async def fetchrow(self, query: str, *args: Any) -> Record | None: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...
    async def execute(self, query: str, *args: Any) -> str: ...
    def transaction(self) -> AbstractAsyncContextManager[object]: ...
    async def set_type_codec(self, typename: str, **codec: Any) -> None: ...
    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None: ...
    async def close(self, *, timeout: float | None = None) -> None: ...  # noqa: ASYNC109 - the library's own signature
    def is_closed(self) -> bool: ...


UNAVAILABLE = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""The database is away, not the statement wrong: wait and try again, skip nothing."""

HOPELESS = (asyncpg.SyntaxOrAccessError,)
"""The code does not fit the schema: no item is to blame, and halving the batch finds none."""

RETRYABLE = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""The transaction lost a race and may simply run again."""


def describe(error: BaseException) -> str:
    """The error in a line that may be stored and logged: PostgreSQL's own words quote the row, with all that is private in it."""
    if isinstance(error, asyncpg.PostgresError):
        constraint = getattr(error, "constraint_name", None)
        return f"{type(error).__name__} {error.sqlstate}{f' ({constraint})' if constraint else ''}"
    return f"{type(error).__name__}: {error}"


_SERVER_GIVES_UP_ON_US = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
}


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit has brought: the aggregates it touched, whether facts were said, the kinds of jobs that are due now."""

    keys: set[str]
    said: bool
    due: set[str]


class Database:
    """Opened once by a service. `committed` has the in-process listeners that `announce` tells."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self._pool_size = pool_size
        self._pool: Any = None
        self._reads: Any = None
        self.committed: list[Callable[[Committed], object]] = []

    async def open(self) -> None:
        """Raises one of UNAVAILABLE when the server cannot be reached."""
        limits = {"statement_timeout": "15000"}
        locks = {"lock_timeout": "10000", "idle_in_transaction_session_timeout": "30000"}
        self._pool = await self._open_pool(1, self._pool_size, limits | locks)
        self._reads = await self._open_pool(0, self._pool_size + 5, limits)

    async def _open_pool(self, smallest: int, largest: int, server_settings: dict[str, str]) -> Any:
        return await asyncpg.create_pool(
            self.url,
            min_size=smallest,
            max_size=largest,
            timeout=5,
            command_timeout=30,
            init=_prepare,
            reset=_no_reset,
            server_settings=server_settings,
        )

    async def close(self) -> None:
        for pool in (self._pool, self._reads):
            if pool is not None:
                try:
                    await asyncio.wait_for(pool.close(), 5)
                except TimeoutError:
                    pool.terminate()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection within a transaction; commits unless the body raises."""
        async with self.connection() as conn, conn.transaction():
            yield conn

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool, each statement its own transaction."""
        if self._pool is None:
            raise ConnectionError("the database is not open")
        async with self._pool.acquire(timeout=5) as conn:
            yield conn

    async def direct(self) -> Connection:
        """A connection outside the pool, for session locks; the caller closes it.

        It holds its lock for as long as both ends believe in it, so both give up on a vanished peer in about 30 s.
        """
        connecting = asyncpg.connect(
            self.url, timeout=5, command_timeout=30, server_settings=_SERVER_GIVES_UP_ON_US
        )
        conn = cast("Connection", await connecting)
        await _prepare(conn)
        return conn

    async def fetch(
        self, statement: Executable | Statement, parameters: Mapping[str, Any] | None = None
    ) -> list[Row]:
        """A read: no transaction, no lock. Raises one of UNAVAILABLE while the database is away."""
        if self._reads is None:
            raise ConnectionError("the database is not open")
        text, arguments = compiled(statement, parameters)
        try:
            return await self._read(text, arguments)
        except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError):
            # A connection of before an outage is dead, and the others are too: a read may simply be made again.
            await self._reads.expire_connections()
            return await self._read(text, arguments)

    async def _read(self, text: str, arguments: Sequence[Any]) -> list[Row]:
        async with self._reads.acquire(timeout=5) as conn:
            return rows(await conn.fetch(text, *arguments))

    def announce(self, keys: Iterable[str] = (), *, said: bool = False, due: Iterable[str] = ()) -> None:
        """Tell in-process listeners (waiting mutations, relay, worker) what a commit has brought."""
        committed = Committed(set(keys), said, set(due))
        for listener in self.committed:
            listener(committed)


async def _prepare(conn: Connection) -> None:
    await conn.set_type_codec(
        "jsonb", encoder=_dump, decoder=orjson.loads, schema="pg_catalog", format="text"
    )


def _dump(value: object) -> str:
    return orjson.dumps(value).decode()


async def _no_reset(_: Connection) -> None:
    """Our transactions leave no session state behind, so the pool's RESET would be a wasted round trip."""
