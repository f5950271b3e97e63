"""The operators' verbs for the stack of this run directory: the same as `python -m <service>` has, on every service's database."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from ordermesh.errors import LauncherError
from ordermesh.postgres import SERVICES, Postgres
from ordermesh.settings import Settings
from ordermesh.state import RunDirectory
from shared import operations


def add_verbs(commands: Any) -> None:
    """`dlq`, `jobs`, `outbox` and `orders`, each with `--service`; their `command` is `run`."""
    orders = commands.add_parser("orders", help="orders across the services")
    stuck = operations.add_stuck(orders.add_subparsers(required=True, metavar="stuck"))
    for parser in (*operations.add_verbs(commands), stuck):
        parser.add_argument("--service", choices=SERVICES, help="this one alone (default: all)")
        parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Raises LauncherError for a letter's id without its service, and for what the services' own verbs refuse."""
    if arguments.service is None and (getattr(arguments, "id", None) or getattr(arguments, "ids", None)):
        raise LauncherError("A letter's id counts within its service: say --service.")
    services = SERVICES if arguments.service is None else (arguments.service,)
    try:
        told = asyncio.run(_ask(arguments, services, Settings.read()))
    except operations.OperatorError as error:
        raise LauncherError(f"{error}.") from error
    for service, answer in zip(services, told, strict=True):
        if len(services) > 1 and answer:
            sys.stdout.buffer.write(f"{service}:\n".encode())
        sys.stdout.buffer.write(answer)
    return 0


async def _ask(arguments: argparse.Namespace, services: Sequence[str], settings: Settings) -> list[bytes]:
    return [await operations.run(arguments, service, _database(settings, service)) for service in services]


def _database(settings: Settings, service: str) -> str:
    """Raises LauncherError when there is none to ask."""
    if url := settings.database_url(service):
        return url
    directory = RunDirectory(settings.ordermesh_home)
    running = directory.running(Postgres.name)
    if running is None:
        raise LauncherError(
            f"No database runs here: start one with `ordermesh up`, or name one in {service.upper()}_DATABASE_URL."
        )
    server = Postgres(directory)
    server.port = running.port
    return server.dsn(service)
