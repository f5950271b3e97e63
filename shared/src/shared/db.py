"""A service's own PostgreSQL: one small pool for transactions, one AUTOCOMMIT engine for reads, and the wake-ups between them.

Transactions speak asyncpg (a mutation costs half of what it does through SQLAlchemy); reads are SQLAlchemy Core statements.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import asyncpg
import orjson
from sqlalchemy import Executable, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

Record = Mapping[str, Any]


class Connection(Protocol):
    """What we use of asyncpg's connection (the library ships no types)."""

    async def fetch(self, query: str, *args: Any) -> list[Record]: ...
    async def fetchrow(self, query: str, *args: Any) -> Record | None: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...
    async def execute(self, query: str, *args: Any) -> str: ...
    def transaction(self) -> AbstractAsyncContextManager[object]: ...
    async def set_type_codec(self, typename: str, **codec: Any) -> None: ...
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
    """Opened once by a service. `changed` tells in-process listeners which aggregates a commit touched."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self._pool_size = pool_size
        self._pool: Any = None
        self.engine: AsyncEngine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1),
            isolation_level="AUTOCOMMIT",
            pool_reset_on_return=None,
            pool_size=5,
            max_overflow=pool_size,
            pool_timeout=5,
            pool_pre_ping=False,
            hide_parameters=True,
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
            connect_args={
                "server_settings": {"statement_timeout": "15000"},
                "timeout": 5,
                "command_timeout": 30,
            },
        )
        self.committed: list[Callable[[Committed], object]] = []

    async def open(self) -> None:
        """Raises one of UNAVAILABLE when the server cannot be reached."""
        self._pool = await asyncpg.create_pool(
            self.url,
            min_size=1,
            max_size=self._pool_size,
            timeout=5,
            command_timeout=30,
            init=_prepare,
            reset=_no_reset,
            server_settings={
                "statement_timeout": "15000",
                "lock_timeout": "10000",
                "idle_in_transaction_session_timeout": "30000",
            },
        )

    async def close(self) -> None:
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), 5)
            except TimeoutError:
                self._pool.terminate()
        await self.engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection within a transaction; commits unless the body raises."""
        async with self.connection() as conn, conn.transaction():
            yield conn

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool, each statement its own transaction."""
        if self._pool is None:
            raise RuntimeError("the database is not open")
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
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> Sequence[Row[Any]]:
        """A read: no transaction, no lock. Raises one of UNAVAILABLE while the database is away.

        The connections of before an outage are dead: the first read that meets one has the engine forget them all, and reads again.
        """
        try:
            return await self._read(statement, parameters)
        except ConnectionError:
            return await self._read(statement, parameters)

    async def _read(self, statement: Executable, parameters: dict[str, Any] | None) -> Sequence[Row[Any]]:
        try:
            async with self.engine.connect() as conn:
                return (await conn.execute(statement, parameters)).all()
        except DBAPIError as failed:
            if failed.connection_invalidated:
                raise ConnectionError("the connection to the database was lost") from failed
            raise
        except NoConnectionLeft as busy:
            raise TimeoutError("no connection to the database became free") from busy

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
