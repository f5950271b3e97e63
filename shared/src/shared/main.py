"""`python -m <service>` serves; `migrate` brings its schema up to date; the rest are the operators' verbs (`operations`).

A command imports what it needs and no more: a migration does not wait for the whole service to load, and a service that is
told to stop while it loads ends as gracefully as later.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING

from shared import operations, stopping

if TYPE_CHECKING:
    from shared.service import Service
    from shared.settings import ServiceSettings


def main(name: str) -> None:
    """The entry point of the service's `__main__`; its settings are `<name>.settings.Settings`, its app `<name>.app.build`."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="serve until SIGTERM (the default)")
    commands.add_parser("migrate", help="bring the database schema up to date")
    operations.add_verbs(commands)
    operations.add_stuck(commands)
    arguments = parser.parse_args()
    if hasattr(arguments, "verb"):
        return _operate(name, arguments)
    if arguments.command == "migrate":
        # Told to stop, it ends by the signal: exit code 0 would say that the schema is up to date.
        return _migrate(name, _configured(name))
    stopping.end_when_told()
    return _serve(name, _configured(name))


def _configured(name: str) -> ServiceSettings:
    from shared import telemetry
    from shared.settings import from_environment

    settings: ServiceSettings = from_environment(importlib.import_module(f"{name}.settings").Settings)
    telemetry.configure(name, settings.log_level, settings.log_format)
    return settings


def _operate(name: str, arguments: argparse.Namespace) -> None:
    import asyncio

    from shared.settings import DatabaseSettings, from_environment

    settings = from_environment(DatabaseSettings)
    try:
        told = asyncio.run(operations.run(arguments, name, settings.database_url.get_secret_value()))
    except operations.OperatorError as error:
        raise SystemExit(str(error)) from None
    sys.stdout.buffer.write(told)


def _migrate(name: str, settings: ServiceSettings) -> None:
    from shared.migrations import migrate

    try:
        migrate(name, settings.database_url.get_secret_value())
    except OSError as away:
        raise SystemExit(f"DATABASE_URL: the database cannot be reached: {away}") from None


def _serve(name: str, settings: ServiceSettings) -> None:
    from shared import crash
    from shared.server import serve
    from shared.service import REQUESTS_SECONDS

    if settings.ordermesh_crash_at is not None:
        crash.arm(settings.ordermesh_crash_at)
    service: Service = importlib.import_module(f"{name}.app").build(settings)
    serve(service, settings, graceful=REQUESTS_SECONDS, failed=lambda: service.start_failure is not None)
