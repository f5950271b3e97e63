"""One tooth at a time: a copy of the sources, one change in it, and those tests that are to notice.

Caught: a test failed (also one that hung until its time was up). MISSED: all passed. Broken: neither is known, because the
tests could not be collected, a fixture failed, or something else than the copy was imported.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from teeth.table import ROOT, Tooth
from teeth.witness import MARK

TEST_SECONDS = 60
"""For one test. A protection that is off may leave a test waiting for what never comes."""
RUN_SECONDS = 600
"""For all tests of one tooth: a run that does not end by its tests' own time-outs proves nothing."""
COPIED = ("shared", "services", "deploy", "tests", "pyproject.toml")
TESTS_FAILED = 1
TAIL = 30


class Verdict(StrEnum):
    CAUGHT = "caught"
    MISSED = "MISSED"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Bite:
    """What became of one tooth; `by` are the tests that failed, `output` is pytest's last lines."""

    verdict: Verdict
    by: tuple[str, ...]
    imported: str
    output: str


def bite(tooth: Tooth) -> Bite:
    """Switch it off and run its tests. Raises StaleTooth."""
    with tempfile.TemporaryDirectory(prefix="ordermesh-teeth-") as temporary:
        copy = copied(Path(temporary).resolve())
        changed = copy / tooth.file
        changed.write_text(tooth.bare(changed.read_text()))
        return _judged(*_run(copy, tooth.module, tooth.tests), changed)


def unchanged(teeth: Sequence[Tooth]) -> str:
    """Run the same tests on a copy without a change: what fails there catches nothing. Answers pytest's last lines, or nothing."""
    tests = list(dict.fromkeys(test for tooth in teeth for test in tooth.tests))
    with tempfile.TemporaryDirectory(prefix="ordermesh-teeth-") as temporary:
        status, output = _run(copied(Path(temporary).resolve()), teeth[0].module, tests)
    return "" if status == 0 else _tail(output)


def copied(to: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, to / name)
    return to


def _run(copy: Path, module: str, tests: Sequence[str]) -> tuple[int | None, str]:
    """The exit code, None for a run that had to be ended, and the output."""
    packages = sorted(str(src) for src in copy.glob("**/src") if (src.parent / "pyproject.toml").exists())
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([*packages, str(copy / "tests" / "lib")]),
        "ORDERMESH_KAFKA": "embedded",
    }
    environment.pop("REQUIRE_KAFKA", None)
    options = ["-q", "--tb=line", "-p", "teeth.witness", f"--witness={module}", f"--timeout={TEST_SECONDS}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=RUN_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]
    return process.returncode, output


def _judged(status: int | None, output: str, changed: Path) -> Bite:
    told = [line.removeprefix(MARK) for line in output.splitlines() if line.startswith(MARK)]
    seen = json.loads(told[0]) if told else {"file": None, "passed": [], "failed": []}
    failed = tuple(seen["failed"])
    verdict = Verdict.BROKEN
    if seen["file"] == str(changed):
        if status == TESTS_FAILED and failed:
            verdict = Verdict.CAUGHT
        elif status == 0 and seen["passed"]:
            verdict = Verdict.MISSED
    return Bite(verdict, failed, seen["file"] or "nothing", _tail(output))


def _tail(output: str) -> str:
    return "\n".join(output.splitlines()[-TAIL:])
