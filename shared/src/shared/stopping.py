"""What a process that serves does when it is told to stop before it serves: it ends at once, with exit code 0.

Imported before everything that takes long to load, so only what Python has loaded itself is imported here.
"""

import os
import signal
from types import FrameType


def end_when_told() -> None:
    """Obey SIGTERM and SIGINT from now on; the server's own handlers take over when it starts.

    Nothing is open yet, so nothing needs to be closed. SystemExit would be lost if it were raised within a callback of the
    garbage collector or of an import.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)
