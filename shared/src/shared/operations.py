"""The operators' verbs on the command line: `dlq list|show|redrive`, `jobs list|retry`, `outbox lag|replay`, `stuck`. `verbs` does them.

`python -m <service>` and `ordermesh` both speak them. They read the service's database, or mark what its process is to do, and
need DATABASE_URL alone.
"""

import argparse
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

Subparsers = Any
"""argparse's own type of this is private."""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

_STUCK = (
    "What waits longer than it should, for what, since when. In every service: a dead letter that holds its key back and a job"
    " that was given up, at once; a job that is tried again and again and an event that is not sent, after 15 minutes. Of"
    " orders: one whose payment is not prepared and a paid one without a shipment, after 15 minutes; a refund that was asked"
    " for, after a day; a payment that is being processed, after 7 days. Not what waits for a person or a parcel: for the"
    " shopper to pay, for staff to pack, for the carrier to deliver."
)


class OperatorError(Exception):
    """What was asked for cannot be done; the message says why in a sentence."""


def add_verbs(commands: Subparsers) -> list[argparse.ArgumentParser]:
    """The verbs' parsers, each with its `verb`; answers them so that a caller can add options of its own."""
    dlq = commands.add_parser("dlq", help="dead letters: what could not be handled").add_subparsers(
        required=True, metavar="list|show|redrive"
    )
    jobs = commands.add_parser("jobs", help="provider calls and deadlines that were given up").add_subparsers(
        required=True, metavar="list|retry"
    )
    outbox = commands.add_parser("outbox", help="what is said and still to be sent").add_subparsers(
        required=True, metavar="lag|replay"
    )
    parsers = [
        _list(dlq),
        _show(dlq),
        _redrive(dlq),
        _about_jobs(_add(jobs, "list", "failed jobs", "what was given up after three days, and why")),
        _retry(jobs),
        _add(outbox, "lag", "lag", "how much waits to be sent, since when"),
    ]
    sending = _add(outbox, "replay", "replay", "send what the event log keeps once more, in order")
    sending.add_argument("--days", type=_days, default=7, help="how far back (default: %(default)s)")
    return [*parsers, sending]


def add_stuck(commands: Subparsers) -> argparse.ArgumentParser:
    """`stuck`: what waits longer than it should."""
    parser = _add(commands, "stuck", "stuck", "what waits longer than it should, for what, since when")
    parser.description = _STUCK
    parser.add_argument(
        "--after",
        type=_duration,
        help="wait this long instead of what each thing may take, as in 90s, 15m, 2h",
    )
    parser.add_argument("--limit", type=int, default=100, help="of each sort (default: %(default)s)")
    return parser


async def run(arguments: argparse.Namespace, service: str, url: str) -> bytes:
    """Speak the verb to one service; answers what to print. Raises OperatorError."""
    from shared import verbs  # noqa: PLC0415 - the database's client takes a while to load, and most commands need none

    return await verbs.speak(arguments, service, url)


def _add(commands: Subparsers, name: str, verb: str, help_: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help_, description=help_)
    parser.set_defaults(verb=verb)
    return parser


def _list(commands: Subparsers) -> argparse.ArgumentParser:
    parser = _add(commands, "list", "letters", "dead letters, oldest first; no contents")
    _add_filters(parser)
    return parser


def _show(commands: Subparsers) -> argparse.ArgumentParser:
    parser = _add(commands, "show", "letter", "one dead letter and its redrives")
    parser.add_argument("id", type=int)
    parser.add_argument(
        "--body", action="store_true", help="print the body's bytes and nothing else (may be personal)"
    )
    return parser


def _redrive(commands: Subparsers) -> argparse.ArgumentParser:
    help_ = "have the service handle letters again; what waits behind them follows by itself"
    parser = _add(commands, "redrive", "redrive", help_)
    parser.add_argument("ids", type=int, nargs="*", metavar="ID")
    _add_filters(parser)
    parser.add_argument("--all", action="store_true", help="no filter: all of them")
    parser.add_argument("--dry-run", action="store_true", help="show which, and do nothing")
    parser.add_argument("--by", default=None, help="who asks, for the audit (default: the system's user)")
    parser.add_argument("--body", type=Path, metavar="FILE", help="with one ID: handle these bytes instead")
    parser.add_argument("--new-key", help="with one ID: under this key")
    parser.add_argument(
        "--header", type=_header, action="append", metavar="NAME=VALUE", help="with one ID: with this header"
    )
    return parser


def _retry(commands: Subparsers) -> argparse.ArgumentParser:
    parser = _about_jobs(
        _add(commands, "retry", "retry", "have the service try again, once the cause is mended")
    )
    parser.add_argument("--all", action="store_true", help="no filter: all of them")
    parser.add_argument("--dry-run", action="store_true", help="show which, and do nothing")
    return parser


def _about_jobs(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--kind", help="as in stripe.refund")
    parser.add_argument("--key", help="what they are about: an order's id, or a shipment's")
    parser.add_argument("--limit", type=int, default=100, help="at most so many (default: %(default)s)")
    return parser


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topic")
    parser.add_argument("--type", help="a fact's type, as in payment.captured")
    parser.add_argument("--key", help="what they are about: an order's id")
    parser.add_argument("--reason", help="a part of the reason's text")
    parser.add_argument("--since", type=_moment, help="not older than this: 90m, 2h, 7d or an ISO time (UTC)")
    parser.add_argument("--limit", type=int, default=100, help="at most so many (default: %(default)s)")


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text} is no duration such as 90s, 15m, 2h, 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _days(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,4}", text):
        raise argparse.ArgumentTypeError(f"{text} is no number of days from 1 on")
    return int(text)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC) - _duration(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _header(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value
