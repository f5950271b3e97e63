"""The schedule is a pure function of the seed, and leaves nothing out."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from chaos.schedule import LINKS, PASSED_BY, PROCESSES, SERVICES, WEIGHTS, schedule
from shared.crash import CRASH_POINTS

LIB = Path(__file__).parents[1] / "lib"
PRINT = "from chaos.schedule import schedule; print(schedule(7, 100))"


def printed(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(LIB), "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", PRINT], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_the_same_seed_gives_the_same_schedule_in_every_process() -> None:
    assert printed("1") == printed("2") == repr(schedule(7, 100))


def test_a_shorter_run_takes_the_first_crash_points_of_the_same_schedule() -> None:
    short, long = schedule(7, 100, crashes=2), schedule(7, 100)
    assert short.faults == long.faults
    assert {service: places[:2] for service, places in long.crashes.items()} == short.crashes


def test_another_seed_gives_another_schedule() -> None:
    assert schedule(1, 100) != schedule(2, 100)


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_of_fault_happens_and_every_crash_point_gets_its_turn(seed: int) -> None:
    short, long = schedule(seed, 40), schedule(seed, 1000)
    for plan, rounds in ((short, 1), (long, len(long.faults) // len(CRASH_POINTS))):
        assert {fault.kind for fault in plan.faults} == set(WEIGHTS)
        assert [fault.at for fault in plan.faults] == sorted(fault.at for fault in plan.faults)
        assert all(0 < fault.at < plan.orders for fault in plan.faults)
        turns = Counter(place.partition(":")[0] for places in plan.crashes.values() for place in places)
        assert turns == dict.fromkeys(CRASH_POINTS, rounds)
    assert len(long.faults) > 100


@pytest.mark.parametrize("seed", range(20))
def test_a_fault_names_what_is_there_and_a_service_is_told_only_places_that_it_passes(seed: int) -> None:
    plan = schedule(seed, 300)
    assert {fault.target for fault in plan.faults} <= {"", *LINKS, *PROCESSES}
    for service, places in plan.crashes.items():
        assert service in SERVICES
        assert {place.partition(":")[0] for place in places} <= set(PASSED_BY[service])
