"""The embedded PostgreSQL, for real."""

import asyncio
import locale
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from ordermesh import before_exec
from ordermesh.errors import LauncherError
from ordermesh.infrastructure import Infrastructure
from ordermesh.postgres import SERVICES, Postgres, first_known
from ordermesh.process import Identity, gone
from ordermesh.settings import CHECKOUT
from ordermesh.state import RunDirectory
from ordermesh.unprivileged import hand_over

AS_ROOT = os.geteuid() == 0


async def value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn, ssl=False)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_each_role_owns_its_database(infra: Infrastructure, service: str) -> None:
    dsn = infra.databases[service]
    connection = await asyncpg.connect(dsn, ssl=False)
    await connection.execute("BEGIN; CREATE TABLE mine (id int); CREATE SCHEMA also_mine; ROLLBACK")
    await connection.close()
    assert await value(dsn, "SELECT current_database()") == service
    assert await value(dsn, "SELECT current_setting('is_superuser')") == "off"


@pytest.mark.parametrize(
    ("service", "other"), [*permutations(SERVICES, 2), ("orders", "postgres"), ("orders", "template1")]
)
async def test_no_role_reaches_another_database(infra: Infrastructure, service: str, other: str) -> None:
    dsn = infra.databases[service].rpartition("/")[0]
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
        await asyncpg.connect(f"{dsn}/{other}", ssl=False)


async def test_the_database_knows_letters_of_all_alphabets(infra: Infrastructure) -> None:
    ctype = await value(
        infra.databases["orders"], "SELECT datctype FROM pg_database WHERE datname = 'orders'"
    )
    assert str(ctype).endswith("UTF-8")


def test_a_locale_that_the_system_has_not_is_not_asked_for() -> None:
    before = locale.setlocale(locale.LC_CTYPE)
    assert first_known("no_WHERE.UTF-8", "POSIX", "C") == "POSIX"
    assert first_known("no_WHERE.UTF-8") == "C"
    assert locale.setlocale(locale.LC_CTYPE) == before


async def test_a_wrong_password_is_refused(infra: Infrastructure) -> None:
    port = infra.databases["orders"].rpartition(":")[2]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://orders:wrong@127.0.0.1:{port}", ssl=False)


async def test_it_listens_on_the_loopback_interface_alone(infra: Infrastructure) -> None:
    assert await value(infra.admin_dsn, "SHOW listen_addresses") == "127.0.0.1"
    assert await value(infra.admin_dsn, "SHOW unix_socket_directories") == ""


async def test_it_is_postgresql_18_with_times_in_utc(infra: Infrastructure) -> None:
    assert str(await value(infra.admin_dsn, "SHOW server_version")).startswith("18")
    assert await value(infra.databases["orders"], "SHOW timezone") == "UTC"


class TestFreshDatabases:
    async def test_each_is_new_empty_and_closed_to_others(self, infra: Infrastructure) -> None:
        first = await infra.fresh_databases()
        second = await infra.fresh_databases(["orders"])
        assert set(first) == set(SERVICES)
        assert first["orders"] != second["orders"]
        await value(first["orders"], "CREATE TABLE t (id int)")
        assert await value(second["orders"], "SELECT to_regclass('t')") is None
        stranger = infra.databases["payments"].rpartition("/")[0] + "/" + first["orders"].rpartition("/")[2]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(stranger, ssl=False)
        await infra.drop_databases([*first.values(), *second.values()])

    async def test_a_template_is_copied_with_what_it_holds(self, infra: Infrastructure) -> None:
        template = await infra.fresh_databases(["orders"])
        await value(template["orders"], "CREATE TABLE t AS SELECT 42 AS answer")
        copy = await infra.fresh_databases(["orders"], template)
        assert await value(copy["orders"], "SELECT answer FROM t") == 42
        await value(copy["orders"], "DROP TABLE t")
        await infra.drop_databases([*template.values(), *copy.values()])
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await asyncpg.connect(copy["orders"], ssl=False)


async def test_data_and_passwords_survive_a_restart(directory: RunDirectory) -> None:
    server = Postgres(directory)
    await server.start(attached=True)
    await value(server.dsn("orders"), "CREATE TABLE t AS SELECT 42 AS answer")
    before = server.dsn("orders")
    await server.stop()
    await server.start(attached=True)
    try:
        assert server.dsn("orders") == before
        assert await value(before, "SELECT answer FROM t") == 42
        assert await value(before, "SHOW synchronous_commit") == "on"
        assert await value(before, "SHOW fsync") == "on"
    finally:
        await server.stop()
    assert not (directory.path / "postgres" / "postmaster.pid").exists()


async def test_it_starts_over_what_a_killed_server_left(directory: RunDirectory) -> None:
    server = Postgres(directory, fast=True)
    await server.start(attached=True)
    note = directory.path / "postgres" / "postmaster.pid"
    pid, *rest = note.read_text().splitlines()
    os.kill(int(pid), signal.SIGKILL)
    killed = Identity.of(int(pid))
    assert killed is None or await gone(killed, seconds=30)
    # The worst case: the pid in its note has since been given to another process of the same user.
    user = 65534 if AS_ROOT else None
    other = await asyncio.create_subprocess_exec("sleep", "600", user=user)
    note.write_text("\n".join([str(other.pid), *rest]) + "\n")
    again = Postgres(directory, fast=True)
    try:
        await again.start(attached=True)
        assert await value(again.admin_dsn, "SELECT 1") == 1
        assert other.returncode is None
    finally:
        await again.stop()
        other.kill()
        await other.wait()
        await server.stop()


async def test_a_server_that_no_record_tells_of_is_replaced(directory: RunDirectory) -> None:
    forgotten = Postgres(directory, fast=True)
    await forgotten.start(attached=True)
    directory.forget(forgotten.name)
    server = Postgres(directory, fast=True)
    try:
        assert not await server.attach()
        await server.start(attached=True)
        assert not forgotten.is_alive()
        assert await value(server.admin_dsn, "SELECT 1") == 1
    finally:
        await server.stop()
        await forgotten.stop()


async def test_half_made_data_of_a_broken_start_is_made_anew(directory: RunDirectory) -> None:
    half = directory.path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    server = Postgres(directory, fast=True)
    try:
        await server.start(attached=True)
        assert await value(server.admin_dsn, "SELECT 1") == 1
    finally:
        await server.stop()
    assert not half.exists()


async def test_data_that_cannot_be_used_is_told_with_the_servers_own_words(directory: RunDirectory) -> None:
    data = directory.path / "postgres"
    data.mkdir(mode=0o700)
    (data / "PG_VERSION").write_text("9\n")
    server = Postgres(directory, fast=True)
    with pytest.raises(LauncherError, match=r"(?s)did not start.*\|.*postgres\.log"):
        await server.start(attached=True)
    await server.stop()


async def test_data_whose_passwords_are_lost_are_not_guessed_at(directory: RunDirectory) -> None:
    server = Postgres(directory, fast=True)
    await server.start(attached=True)
    await server.stop()
    shutil.rmtree(directory.path / "secrets")
    directory.prepare()
    with pytest.raises(LauncherError, match="was made with other passwords"):
        await server.start(attached=True)
    await server.stop()


ROUND = """
import asyncio, os, pathlib, sys, asyncpg
from ordermesh.infrastructure import embedded
async def main():
    async with embedded(home=pathlib.Path(sys.argv[1]), fast=True) as infra:
        connection = await asyncpg.connect(infra.databases["orders"], ssl=False)
        print(os.geteuid(), await connection.fetchval("SELECT current_user"))
        await connection.close()
asyncio.run(main())
"""


@pytest.mark.skipif(
    not AS_ROOT, reason="only root can become an ordinary user; one who is not root runs all tests as one"
)
async def test_an_ordinary_user_can_run_it() -> None:
    home = Path(tempfile.mkdtemp(prefix="ordinary-"))
    hand_over(home)
    try:
        # The interpreter itself may lie where only root may go, so this user may pass closed directories.
        become = (sys.executable, before_exec.__file__, "0", "0", "nobody", "1")
        process = await asyncio.create_subprocess_exec(
            *(*become, sys.executable, "-c", ROUND, str(home / "run")),
            env={"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        user, role = out.decode().split()
        assert int(user) != 0
        assert role == "orders"
    finally:
        shutil.rmtree(home)


@pytest.fixture(params=[0o700, 0o755])
def roots_own(request: pytest.FixtureRequest) -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="roots-"))
    home.chmod(request.param)
    yield home
    assert home.stat().st_mode & 0o777 == request.param
    shutil.rmtree(home)


@pytest.mark.skipif(not AS_ROOT, reason="only root becomes another user")
async def test_root_can_run_it_whether_or_not_others_may_enter(roots_own: Path) -> None:
    server = Postgres(RunDirectory(roots_own / "run").prepare(), fast=True)
    try:
        await server.start(attached=True)
        assert await value(server.admin_dsn, "SELECT 1") == 1
    finally:
        await server.stop()


async def test_composes_init_script_closes_each_database_to_the_other_services(
    directory: RunDirectory,
) -> None:
    """deploy/postgres/services.sh, run as the image of PostgreSQL runs it, on a server that has no service yet."""
    server = Postgres(directory, fast=True)
    await server.start(attached=True)
    try:
        admin = await asyncpg.connect(server.admin_dsn, ssl=False)
        for service in SERVICES:
            await admin.execute(f"DROP DATABASE {service}")
            await admin.execute(f"DROP ROLE {service}")
        await admin.close()
        address = urlsplit(server.admin_dsn)
        environment = {
            "PATH": f"{server._binaries}:/usr/bin:/bin",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(address.port),
            "PGPASSWORD": address.password or "",
            **{f"{service.upper()}_DATABASE_PASSWORD": f"it's {service}'s" for service in SERVICES},
        }
        script = await asyncio.create_subprocess_exec(
            CHECKOUT / "deploy" / "postgres" / "services.sh", env=environment
        )
        assert await script.wait() == 0
        reach = {"host": "127.0.0.1", "port": address.port, "ssl": False, "user": "orders"}
        own = await asyncpg.connect(database="orders", password="it's orders's", **reach)
        await own.execute("CREATE TABLE mine ()")
        await own.close()
        for other in ("payments", "postgres"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await asyncpg.connect(database=other, password="it's orders's", **reach)
    finally:
        await server.stop()
