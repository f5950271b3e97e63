"""`python -m <service>` serves; `migrate` brings its schema up to date; `replay` sends what its event log keeps once more.

A command imports what it needs and no more: a migration does not wait for the whole service to load.
"""

import argparse
import asyncio
import importlib
from datetime import UTC, datetime, timedelta

from shared import crash, telemetry
from shared.settings import ServiceSettings, from_environment


def main(name: str) -> None:
    """The entry point of the service's `__main__`; its settings are `<name>.settings.Settings`, its app `<name>.app.build`."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="serve until SIGTERM (the default)")
    commands.add_parser("migrate", help="bring the database schema up to date")
    sending = commands.add_parser("replay", help="send what the event log keeps once more, in order")
    sending.add_argument("--days", type=int, default=7, help="how far back (default: %(default)s)")
    arguments = parser.parse_args()
    settings: ServiceSettings = from_environment(importlib.import_module(f"{name}.settings").Settings)
    telemetry.configure(name, settings.log_level, settings.log_format)
    if arguments.command == "migrate":
        _migrate(name, settings)
    elif arguments.command == "replay":
        asyncio.run(_replay(settings, arguments.days))
    else:
        _serve(name, settings)


def _migrate(name: str, settings: ServiceSettings) -> None:
    from shared.migrations import migrate  # noqa: PLC0415 - Alembic is for this command alone

    try:
        migrate(name, settings.database_url.get_secret_value())
    except OSError as away:
        raise SystemExit(f"DATABASE_URL: the database cannot be reached: {away}") from None


async def _replay(settings: ServiceSettings, days: int) -> None:
    from shared.db import Database  # noqa: PLC0415 - for this command alone
    from shared.outbox import replay  # noqa: PLC0415 - for this command alone

    db = Database(settings.database_url.get_secret_value())
    await db.open()
    count = await replay(db, datetime.now(UTC) - timedelta(days=days))
    await db.close()
    print(f"{count} events of the last {days} days will be sent again")  # noqa: T201 - a command's answer


def _serve(name: str, settings: ServiceSettings) -> None:
    from shared.server import serve  # noqa: PLC0415 - the web server is for this command alone

    if settings.ordermesh_crash_at is not None:
        crash.arm(settings.ordermesh_crash_at)
    serve(importlib.import_module(f"{name}.app").build(settings), settings)
