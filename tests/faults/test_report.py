"""What a run tells when it is over, and what it leaves."""

import os
import subprocess
import sys
from pathlib import Path

import sandbox
from chaos import providers
from chaos.report import show
from chaos.run import Report
from chaos.schedule import schedule
from ordermesh.books import Violation
from ordermesh.shop import Places, Shop

LIB = Path(__file__).parents[1] / "lib"
HISTORY = "The first one's history:"


def test_a_history_is_announced_only_when_there_is_one() -> None:
    report = Report(schedule(7, 100), violations=[Violation("processes end as they are told", "", "boom")])
    assert "boom" in show(report)
    assert HISTORY not in show(report)
    report.history = ["12:00 fact"]
    assert f"{HISTORY}\n12:00 fact\n" in show(report)


async def test_how_a_forgery_was_answered_is_no_fault_of_its_own() -> None:
    async with (
        sandbox.running(sandbox.Settings(port=0, smtp_port=0)) as box,
        Shop(Places("http://127.0.0.1:1", box.url)) as shop,
    ):
        rule = box.faults.add("webhooks.*", ["forged"])
        for kind in ("forged", "forged.400", "forged.400", "dropped"):
            box.faults.append(rule, "webhooks.stripe.charge.updated", kind, 1, "")
        assert await providers.recover(shop) == {"forged": 1, "dropped": 1}


def test_a_run_that_fails_keeps_its_data_and_says_where(tmp_path: Path) -> None:
    # Settings that the stack refuses are the quickest way to fail.
    environment = {**os.environ, "PYTHONPATH": str(LIB), "TMPDIR": str(tmp_path), "GATEWAY_PORT": "eighty"}
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "--seed", "7", "--orders", "3"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "GATEWAY_PORT makes no sense" in done.stderr
    [home] = tmp_path.glob("ordermesh-chaos-*")
    assert done.stdout.splitlines()[-1] == f"Data and logs are in {home}"
