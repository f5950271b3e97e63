"""A heartbeat: a loop beats each time that it comes round, so that one which no longer does can be told from one without work.

Not progress is watched but the loop itself. A consumer that waits for its database still comes round: to restart it would help
nobody. One that hangs within a batch, or whose task has died, does not: only a restart helps.
"""

import time
from collections.abc import Iterable


class Heartbeat:
    """One loop's. It has beaten when it is made."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def beat(self) -> None:
        self.last = time.monotonic()


def longest_silence(heartbeats: Iterable[Heartbeat]) -> float:
    """Seconds since the one that has been silent for longest has beaten; 0 without any."""
    now = time.monotonic()
    return max((now - heartbeat.last for heartbeat in heartbeats), default=0.0)
