"""The short run: real processes, every kind of fault, and nothing is lost, doubled, stuck or out of balance.

`make chaos SEED=n ORDERS=n` is the long one, which reaches every crash point. A seed that found something is named in the failure; it plays the same again.
"""

from pathlib import Path

import pytest

from chaos.report import show
from chaos.run import run
from chaos.schedule import Kind, schedule

SEED = 20260101
ORDERS = 27
"""Each story three times."""
CRASHES = 2
"""Crash points for each service: the embedded broker lets a consumer in again only 18 s after its predecessor died."""


@pytest.mark.timeout(900)
async def test_nothing_is_lost_doubled_stuck_or_out_of_balance(tmp_path: Path) -> None:
    report = await run(schedule(SEED, ORDERS, crashes=CRASHES), tmp_path, print)
    print(show(report))
    assert report.violations == [], show(report)
    assert report.unreached == []
    assert {fault.kind for fault in report.injected} == set(Kind)
    assert report.provider_faults.total() > 0
