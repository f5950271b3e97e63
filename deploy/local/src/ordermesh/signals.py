"""Ctrl-C, SIGTERM and a closed terminal all mean the same: stop what you do and leave nothing behind."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_signalled(work: Coroutine[Any, Any, object]) -> bool:
    """Run it to its end. A signal cancels it, once: the time it then takes to clean up is its own. True if one came."""
    return asyncio.run(_supervised(work))


async def _supervised(work: Coroutine[Any, Any, object]) -> bool:
    task, loop, received = asyncio.ensure_future(work), asyncio.get_running_loop(), False

    def stop() -> None:
        nonlocal received
        if not received:
            received = True
            task.cancel()

    for signum in _STOPPING:
        # `nohup` means that a closed terminal is to be survived.
        if signum != signal.SIGHUP or signal.getsignal(signum) is not signal.SIG_IGN:
            loop.add_signal_handler(signum, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
    return received
