"""The pause between rounds of work."""

from contextlib import suppress

import pytest

from shared.pace import LEAST_SECONDS, MOST_SECONDS, Pace


@pytest.mark.parametrize(
    ("took", "pause"),
    [(0.0, LEAST_SECONDS), (0.03, 0.03), (MOST_SECONDS, MOST_SECONDS), (20.0, MOST_SECONDS)],
)
def test_a_round_rests_as_long_as_the_last_one_took_within_bounds(took: float, pause: float) -> None:
    ticks = iter((0.0, took))
    pace = Pace(lambda: next(ticks))
    with pace.round():
        pass
    assert pace.pause == pause


def test_a_round_that_fails_counts_too() -> None:
    ticks = iter((0.0, 0.05))
    pace = Pace(lambda: next(ticks))
    with suppress(LookupError), pace.round():
        raise LookupError
    assert pace.pause == 0.05
