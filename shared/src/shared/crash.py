"""Named places at which a process can be told to die, so that tests cut it between any two steps that must hold together.

`ORDERMESH_CRASH_AT=<name>[:<n>]` kills the process with SIGKILL at the n-th pass (default: the first), as a lost machine
would: nothing is closed, flushed or said. Without it a crash point is one comparison.
`command_flushed` is after the commit where a command locks nothing, and so writes one statement of its own. The tests of `tests/faults` hit each.
"""

import os
import signal
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator

CrashPoint = Literal[
    # a consumer, from the broker's batch to its acknowledgement
    "batch_received",
    "inbox_claimed",
    "rows_loaded",
    "facts_handled",
    "facts_flushed",
    "facts_committed",
    "offset_committed",
    # the relay
    "outbox_read",
    "events_published",
    "outbox_deleted",
    # the worker
    "jobs_claimed",
    "provider_called",
    "outcome_flushed",
    "outcome_recorded",
    # a provider's webhook
    "webhook_stored",
    "webhook_answered",
    # a mutation, and the answer to any request
    "command_flushed",
    "command_committed",
    "request_answered",
]
CRASH_POINTS: tuple[CrashPoint, ...] = get_args(CrashPoint)

_armed: str | None = None
_passes = 0


def _known(place: str) -> str:
    """Raises ValueError."""
    name, colon, passes = place.partition(":")
    if name not in CRASH_POINTS:
        raise ValueError(f"there is no crash point {name!r}; there are {', '.join(CRASH_POINTS)}")
    if colon and not (passes.isdecimal() and int(passes) > 0):
        raise ValueError(f"{place!r}: the number of passes is 1 or more")
    return place


Place = Annotated[str, AfterValidator(_known)]
"""`<name>` or `<name>:<n>`, as the environment has it."""


def arm(place: str) -> None:
    """From now on this process dies at `place`. Raises ValueError for an unknown one."""
    global _armed, _passes
    name, _, passes = _known(place).partition(":")
    _armed, _passes = name, int(passes or 1)


def crash_point(name: CrashPoint) -> None:
    """Die here, if this process was told to."""
    if name == _armed:
        _pass(name)


def _pass(name: str) -> None:
    global _passes  # noqa: PLW0603 - counted per process
    _passes -= 1
    if not _passes:
        os.write(2, f"dies at crash point {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
