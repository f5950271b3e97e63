"""The `ordermesh` command. Starts Ordermesh on this machine, and shows and stops what runs."""

import argparse
import asyncio
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ordermesh import infrastructure, operations, programs, tokens
from ordermesh.errors import LauncherError
from ordermesh.process import memory
from ordermesh.settings import Settings
from ordermesh.signals import run_until_signalled
from ordermesh.stack import Stack, serving
from ordermesh.state import LAUNCHER, RunDirectory

Command = Callable[[argparse.Namespace], int]


def main(words: Sequence[str] | None = None) -> int:
    """The exit code: 0 done or stopped by a signal, 1 something failed (said in a sentence), 2 wrong usage."""
    arguments = _parser().parse_args(words)
    command: Command = arguments.command
    try:
        return command(arguments)
    except LauncherError as error:
        _say(f"ordermesh: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ordermesh", description=__doc__, epilog="ORDERMESH_HOME chooses the run directory (.run)."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = _add(commands, "up", _up, "start everything and serve until Ctrl-C")
    up.add_argument("--port", type=int, help="the gateway's port (GATEWAY_PORT; 8000 if it is free)")
    _with_kafka(up)
    infra = commands.add_parser("infra", help="PostgreSQL and the broker alone, left running")
    parts = infra.add_subparsers(required=True, metavar="up|down|status")
    _with_kafka(_add(parts, "up", _infra_up, 'start them; use as: eval "$(ordermesh infra up)"'))
    _add(parts, "down", _infra_down, "stop them; the data of PostgreSQL stays")
    _add(parts, "status", _status, "what runs")
    token = _add(commands, "token", _token, "print a token of the running stack's development issuer")
    token.add_argument("--role", required=True, choices=tokens.ROLES)
    token.add_argument("--subject", help="whose token it is (default: demo-<role>)")
    token.add_argument(
        "--scope", help='what staff may change, as in "support finance" (default: all that there is)'
    )
    token.add_argument("--ttl", type=int, help="how long it is valid (seconds; negative: it has expired)")
    shown = _add(commands, "schema", _schema, "print the composed API schema; nothing needs to run")
    shown.add_argument("graph", choices=["storefront"])
    catalogue = _add(commands, "catalog", _catalog, "tell the running stack what the shop sells")
    catalogue.add_argument(
        "file", type=Path, nargs="?", help="a JSON array of SKUs (default: the demo's four)"
    )
    demo = _add(
        commands, "demo", _demo, "an order of every kind on a stack of its own, and whether the books agree"
    )
    _with_kafka(demo)
    _add(commands, "status", _status, "what runs")
    operations.add_verbs(commands)
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, command: Command, help_: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_, description=help_)
    parser.set_defaults(command=command)
    return parser


def _with_kafka(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kafka",
        choices=["embedded", "apache", "docker"],
        help="the broker (ORDERMESH_KAFKA): the embedded one, or Apache Kafka by its jars (fetched by Maven once) or its image"
        " (default: KAFKA_URL, or Apache Kafka if it was fetched before, or the embedded one)",
    )


def _up(arguments: argparse.Namespace) -> int:
    settings = Settings.read(gateway_port=arguments.port, ordermesh_kafka=arguments.kafka)

    async def up() -> None:
        async with serving(settings, say=_say) as stack:
            await _announce(stack, settings)
            await stack.watch()

    if run_until_signalled(up()):
        _say("Stopped.")
    return 0


async def _announce(stack: Stack, settings: Settings) -> None:
    """Where everything is, and tokens to try it with."""
    gateway, sandbox = stack.urls[programs.GATEWAY], stack.urls[programs.SANDBOX]
    print(programs.picked(settings))
    if sentence := programs.moved(settings, gateway):
        print(sentence)
    print(f"\nGraphQL   {gateway}/graphql")
    print(f"Sandbox   {sandbox}/control")
    metrics = (f"{url}/metrics" for name, url in stack.urls.items() if name != programs.SANDBOX)
    print(f"Metrics   {'  '.join(metrics)}")
    print(f"Logs      {stack.directory.path / 'logs'}")
    for role in ("shopper", "staff"):
        print(f"\nToken ({role})\n{await tokens.token(stack.directory, role)}")
    print("\nAn empty catalogue is filled with: ordermesh catalog\nReady. Ctrl-C stops it.", flush=True)


def _infra_up(arguments: argparse.Namespace) -> int:
    up: list[infrastructure.Infrastructure] = []
    settings = Settings.read(ordermesh_kafka=arguments.kafka)

    async def bring_up() -> None:
        up.append(await infrastructure.bring_up(settings))

    run_until_signalled(bring_up())
    for found in up:
        for line in found.picked():
            print(f"# {line}")
        for name, value in found.environment().items():
            print(f"export {name}={shlex.quote(value)}")
    return 0 if up else 1


def _infra_down(_: argparse.Namespace) -> int:
    stopped = asyncio.run(infrastructure.take_down(Settings.read()))
    print("\n".join(f"Stopped {name}." for name in stopped) or "Nothing runs.")
    return 0


def _token(arguments: argparse.Namespace) -> int:
    tokens.refuse_nonsense(arguments.role, subject=arguments.subject, scope=arguments.scope)
    directory = RunDirectory(Settings.read().ordermesh_home)
    print(
        asyncio.run(
            tokens.token(
                directory,
                arguments.role,
                subject=arguments.subject,
                scope=arguments.scope,
                ttl=arguments.ttl,
            )
        )
    )
    return 0


def _schema(_: argparse.Namespace) -> int:
    from ordermesh import schema  # noqa: PLC0415 - it brings the graphs of all services

    print(schema.storefront_sdl())
    return 0


def _catalog(arguments: argparse.Namespace) -> int:
    from ordermesh import catalogue  # noqa: PLC0415 - it brings the broker's client, which takes a while to load

    for sku in asyncio.run(catalogue.list_skus(Settings.read(), arguments.file)):
        print(f"{sku.sku_id}: {sku.name}")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from ordermesh import demo  # noqa: PLC0415 - it brings clients that no other command needs

    return demo.main(arguments.kafka)


def _status(_: argparse.Namespace) -> int:
    """0 if anything runs, 3 if nothing does (as service managers answer)."""
    from rich.console import Console  # noqa: PLC0415 - no other command draws
    from rich.table import Table  # noqa: PLC0415 - as above

    directory = RunDirectory(Settings.read().ordermesh_home)
    table = Table("name", "pid", "port", "memory", title=str(directory.path), title_style="")
    for name, running in directory.all_running().items():
        # Everything else is a child of the launcher.
        size = memory(running.identity.pid, children=name != LAUNCHER)
        label = f"{name} (left running)" if name != LAUNCHER and running.keeper is None else name
        table.add_row(label, str(running.identity.pid), str(running.port or ""), _megabytes(size))
    if not table.row_count:
        print(f"Nothing runs in {directory.path}.")
        return 3
    Console().print(table)
    return 0


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1_000_000:.0f} MB"


def _say(line: str) -> None:
    """To people: whatever reads our output is not to find it there."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
