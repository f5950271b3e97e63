"""What the operators' verbs do, on one service's database. What may be personal is printed by `show --body` and nothing else."""

import argparse
import getpass
import importlib
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from shared import failed_jobs, letters
from shared.backlog import Stuck, lag, stuck
from shared.db import UNAVAILABLE, Database, describe
from shared.failed_jobs import FailedJob
from shared.letters import Filter, Letter
from shared.operations import OperatorError
from shared.outbox import replay
from shared.telemetry import masked

STUCK_AFTER = timedelta(minutes=15)
_SAFE_HEADERS = re.compile(r"(ce_[a-z]+|content-type)")


async def speak(arguments: argparse.Namespace, service: str, url: str) -> bytes:
    """Speak the verb to one service; answers what to print. Raises OperatorError."""
    db = Database(url, pool_size=2)
    try:
        await db.open()
        return await _VERBS[arguments.verb](db, service, arguments)
    except UNAVAILABLE as away:
        raise OperatorError(f"the database of {service} cannot be reached: {describe(away)}") from away
    finally:
        await db.close()


def _filter(arguments: argparse.Namespace) -> Filter:
    return Filter(
        tuple(getattr(arguments, "ids", ())),
        arguments.topic,
        arguments.type,
        arguments.key,
        arguments.reason,
        arguments.since,
    )


async def _tell_letters(db: Database, service: str, arguments: argparse.Namespace) -> bytes:
    found = await letters.find(db, service, _filter(arguments), arguments.limit)
    return _lines(map(_line, found) if found else [_count(0, "dead letter")])


async def _tell_letter(db: Database, service: str, arguments: argparse.Namespace) -> bytes:
    """Raises OperatorError when neither the letter nor an audit of it is there."""
    found = await letters.find(db, service, Filter(ids=(arguments.id,)), 1)
    if arguments.body:
        if not found:
            raise OperatorError(f"{service} has no dead letter {arguments.id}")
        return (found[0].mended or found[0].record).value or b""
    past = await letters.audit(db, service, arguments.id)
    if not found and not past:
        raise OperatorError(f"{service} has no dead letter {arguments.id}")
    redrives = [
        f"redriven {_time(row['ended_at'])} by {_plain(row['asked_by'])}: {row['outcome']} ({_plain(row['reason'])})"
        for row in past
    ]
    return _lines([*(line for letter in found for line in _details(letter)), *redrives])


async def _mark(db: Database, service: str, arguments: argparse.Namespace) -> bytes:
    """Raises OperatorError for a redrive of nothing in particular, and for mending more than one."""
    wanted = _filter(arguments)
    if wanted.is_empty() and not arguments.all:
        raise OperatorError("say which: IDs, a filter, or --all")
    mends = arguments.body is not None or arguments.new_key is not None or arguments.header is not None
    if mends and len(wanted.ids) != 1:
        raise OperatorError("a letter is mended one at a time: give its ID")
    found = await letters.find(db, service, wanted, arguments.limit)
    if arguments.dry_run:
        return _lines([*map(_line, found), f"{len(found)} would be redriven"])
    by = arguments.by or getpass.getuser()
    if mends:
        await _mend(db, service, found, arguments, by)
        return _lines([f"letter {wanted.ids[0]} is mended and will be redriven"])
    count = await letters.mark(db, service, [letter.id for letter in found], by)
    return _lines(
        [
            f"{count} will be redriven"
            + (f", {len(found) - count} were asked for before" if count < len(found) else "")
        ]
    )


async def _mend(
    db: Database, service: str, found: Sequence[Letter], arguments: argparse.Namespace, by: str
) -> None:
    headers = dict(arguments.header or ())
    for letter in found:
        body = arguments.body.read_bytes() if arguments.body else None
        record = letters.changed(
            letter.mended or letter.record, body=body, key=arguments.new_key, headers=headers
        )
        if await letters.mend(db, service, letter, record, by):
            return
    raise OperatorError(f"{service} has no dead letter {arguments.ids[0]}")


async def _tell_failed_jobs(db: Database, _: str, arguments: argparse.Namespace) -> bytes:
    found = await failed_jobs.find(db, arguments.kind, arguments.key, arguments.limit)
    return _lines(map(_job_line, found) if found else ["0 jobs were given up"])


async def _retry(db: Database, _: str, arguments: argparse.Namespace) -> bytes:
    """Raises OperatorError for a retry of nothing in particular."""
    if not (arguments.kind or arguments.key or arguments.all):
        raise OperatorError("say which: --kind, --key, or --all")
    found = await failed_jobs.find(db, arguments.kind, arguments.key, arguments.limit)
    if arguments.dry_run:
        return _lines([*map(_job_line, found), f"{_count(len(found), 'job')} would be tried again"])
    return _lines([f"{_count(await failed_jobs.retry(db, found), 'job')} will be tried again"])


def _job_line(job: FailedJob) -> str:
    what = f"{job.kind}  since {_time(job.since)} ({_ago(job.since)})  {job.attempts} attempts: {job.reason}"
    return f"{_plain(job.key)}  {_plain(what)}"


async def _tell_lag(db: Database, _: str, __: argparse.Namespace) -> bytes:
    behind = await lag(db)
    since = f", the first said {_time(behind.since)} ({_ago(behind.since)})" if behind.since else ""
    return _lines([f"{behind.pending} to send{since}"])


async def _replay(db: Database, _: str, arguments: argparse.Namespace) -> bytes:
    count = await replay(db, datetime.now(UTC) - timedelta(days=arguments.days))
    return _lines(
        [f"{_count(count, 'event')} of the last {_count(arguments.days, 'day')} will be sent again"]
    )


async def _tell_stuck(db: Database, service: str, arguments: argparse.Namespace) -> bytes:
    """A service's own `store.overdue`, where it has one, knows what else must not take long."""
    own = getattr(importlib.import_module(f"{service}.store"), "overdue", None)
    found = [*(await own(db, arguments.after, arguments.limit) if own else [])]
    found += await stuck(db, service, arguments.after or STUCK_AFTER, arguments.limit)
    return _lines(
        map(_stuck_line, sorted(found, key=lambda each: each.since)) if found else ["nothing is stuck"]
    )


def _stuck_line(found: Stuck) -> str:
    return f"{_plain(found.key)}  since {_time(found.since)} ({_ago(found.since)})  {_plain(found.what)}"


def _line(letter: Letter) -> str:
    record = letter.record
    where = f"{record.topic}/{record.partition}@{record.offset}"
    about = letter.aggregate_key or (record.key or b"").decode(errors="replace")[:60]
    parts = (
        letter.id,
        _time(letter.failed_at),
        where,
        letter.type[:60] or "-",
        about or "-",
        _state(letter),
        letter.reason,
    )
    return "  ".join(_plain(str(part)) for part in parts)


def _state(letter: Letter) -> str:
    state = "waits" if letter.waiting else "holds its key" if letter.blocks_key else "holds nothing"
    return f"{state}, redrive asked by {letter.redrive_by}" if letter.redrive_at else state


def _details(letter: Letter) -> Iterator[str]:
    yield _line(letter)
    for kind, record in (("original", letter.record), ("mended", letter.mended)):
        if record is not None:
            yield f"{kind}: {len(record.value or b'')} bytes, {len(record.headers)} headers"
            for name, value in record.headers:
                shown = (
                    (value or b"").decode(errors="replace")
                    if _SAFE_HEADERS.fullmatch(name)
                    else f"{len(value or b'')} bytes"
                )
                yield f"  {_plain(name)}: {_plain(shown)}"


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode(errors="replace")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _plain(text: str) -> str:
    """Garbage must not speak to a terminal, nor show an address."""
    return masked("".join(char if char.isprintable() else "\ufffd" for char in text))


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def _ago(moment: datetime) -> str:
    return f"{timedelta(seconds=round((datetime.now(UTC) - moment).total_seconds()))} ago"


_VERBS: dict[str, Callable[[Database, str, argparse.Namespace], Awaitable[bytes]]] = {
    "letters": _tell_letters,
    "letter": _tell_letter,
    "redrive": _mark,
    "failed jobs": _tell_failed_jobs,
    "retry": _retry,
    "lag": _tell_lag,
    "replay": _replay,
    "stuck": _tell_stuck,
}
