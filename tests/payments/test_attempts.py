"""Which keys an attempt may use: one chain a day, and an hour in which nothing is asked for between two chains."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from payments.attempts import KEYS, Attempt
from shared.jobs import Job

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ID = UUID(int=7)


def attempt(after: timedelta, attempts: int = 2) -> Attempt:
    return Attempt.of(Job(ID, "stripe.refund", "o", {}, attempts, "", NOW), NOW + after)


def test_the_chain_begins_with_the_jobs_id_and_does_not_depend_on_the_attempt() -> None:
    first, ninth = attempt(timedelta(0), 1), attempt(timedelta(hours=22), 9)
    assert first.keys == ninth.keys
    assert list(first.keys[:3]) == [f"{ID}", f"{ID}:1", f"{ID}:2"]
    assert len(set(first.keys)) == KEYS
    assert (first.is_repeat, ninth.is_repeat, first.since) == (False, True, NOW)


def test_what_must_not_come_to_light_twice_has_one_key_a_day() -> None:
    job = Job(ID, "stripe.refund", "o", {}, 2, "", NOW)
    keys = [Attempt.of(job, NOW + timedelta(hours=hours), most=1).keys for hours in (0, 22, 23, 24)]
    assert keys == [(f"{ID}",), (f"{ID}",), (), (f"{ID}:day1",)]


@pytest.mark.parametrize("attempts", [1, 5])
@pytest.mark.parametrize("day", [0, 1, 2])
def test_the_last_hour_of_every_day_is_for_looking_only(day: int, attempts: int) -> None:
    begin = timedelta(days=day)
    assert attempt(begin + timedelta(hours=22, minutes=59), attempts).keys
    assert not attempt(begin + timedelta(hours=23), attempts).keys
    assert not attempt(begin + timedelta(hours=23, minutes=59), attempts).keys


def test_no_two_days_share_a_key() -> None:
    chains = [set(attempt(timedelta(days=day)).keys) for day in range(3)]
    assert len(set.union(*chains)) == 3 * KEYS


def test_a_clock_that_lags_behind_the_databases_is_still_the_first_day() -> None:
    assert attempt(timedelta(seconds=-1)).keys in ((), attempt(timedelta(0)).keys)
