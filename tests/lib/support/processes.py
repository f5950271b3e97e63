"""What processes use, read from /proc: CPU time and memory of one and all below it, and CPU time between two moments."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class CpuClock:
    """CPU seconds since it was made, by name; `here` is this process, finer than /proc has it, without what it started."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = self._now()

    def used(self) -> dict[str, float]:
        return {name: seconds - self._before[name] for name, seconds in self._now().items()}

    def _now(self) -> dict[str, float]:
        others = {name: cpu_seconds(pid) for name, pid in self._pids.items()}
        return {**others, "here": time.process_time()}


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all below it, those that ended included."""
    total = 0
    for each in (pid, *children(pid)):
        with suppress(OSError):  # it has ended meanwhile: its parent's figure has it
            fields = (Path("/proc") / str(each) / "stat").read_text().rpartition(")")[2].split()
            total += sum(int(ticks) for ticks in fields[11:15])
    return total / TICKS_PER_SECOND


def pss_kib(pid: int) -> float:
    """Memory of a process and all below it, shared pages counted by share."""
    total = 0.0
    for each in (pid, *children(pid)):
        rollup = (Path("/proc") / str(each) / "smaps_rollup").read_text()
        total += float(rollup.split("Pss:")[1].split()[0])
    return total


def children(pid: int) -> list[int]:
    """All below it, but for this process, whose children are what is measured."""
    found: list[int] = []
    with suppress(OSError):
        for task in (Path("/proc") / str(pid) / "task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *children(child)]
    return found if pid != os.getpid() else []
