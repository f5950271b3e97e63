"""A heartbeat: a loop beats each time that it comes round, so that one which no longer does can be told from one without work.

Not progress is watched but the loop itself. A consumer that waits for its database still comes round: to restart it would help
nobody. One that hangs within a batch, or whose task has died, does not: only a restart helps.
"""

import time


class Heartbeat:
    """One loop's. It has beaten when it is made."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def beat(self) -> None:
        self._last = time.monotonic()

    def silence(self) -> float:
        """Seconds since the last beat."""
        return time.monotonic() - self._last
