"""Crash points: a process dies where it was told to, at the pass it was told, and nowhere else."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import shared
from shared import crash
from shared.crash import CRASH_POINTS
from shared.settings import ServiceSettings

PASSES = """
import sys
from shared.crash import arm, crash_point
if sys.argv[1]: arm(sys.argv[1])
for n in range(3):
    crash_point("rows_loaded")
    crash_point("facts_handled")
    print(n, flush=True)
"""


def passes(place: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PASSES, place], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_process_that_was_told_nothing_lives() -> None:
    done = passes("")
    assert (done.returncode, done.stdout) == (0, "0\n1\n2\n")


@pytest.mark.parametrize(("place", "printed"), [("rows_loaded", ""), ("facts_handled:3", "0\n1\n")])
def test_a_process_dies_by_sigkill_at_the_pass_it_was_told(place: str, printed: str) -> None:
    done = passes(place)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, printed)
    assert place.partition(":")[0] in done.stderr


@pytest.mark.parametrize("place", ["nowhere", "rows_loaded:0", "rows_loaded:", "rows_loaded:x", ""])
def test_an_unknown_place_refuses_the_start(place: str) -> None:
    with pytest.raises(ValidationError, match=r"there is no crash point|the number of passes"):
        ServiceSettings.model_validate({"database_url": "x", "kafka_url": "x", "ordermesh_crash_at": place})
    with pytest.raises(ValueError, match=r"there is no crash point|the number of passes"):
        crash.arm(place)


def test_every_crash_point_is_passed_at_one_place() -> None:
    sources = "".join(
        path.read_text() for folder in shared.__path__ for path in sorted(Path(folder).rglob("*.py"))
    )
    assert sorted(re.findall(r'crash_point\("(\w+)"\)', sources)) == sorted(CRASH_POINTS)
    assert len(CRASH_POINTS) >= 15
