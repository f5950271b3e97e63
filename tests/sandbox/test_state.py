"""What the state keeps, and what it refuses."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sandbox.record import Record
from sandbox.state import State


def test_state_survives_in_its_file(tmp_path: Path) -> None:
    path = str(tmp_path / "folder" / "state.sqlite")
    with closing(State(path)) as state, state.transaction():
        state.insert("thing", "1", {"name": "one"}, created=5, links={"colour": "red"})
        Record(state).effect(
            "stripe.thing.done", "1", {"name": "one"}, order_id="o", amount=5, currency="usd"
        )
        state.set_meta("name", "value")
    with closing(State(path)) as state:
        assert state.get("thing", "1") == {"name": "one"}
        assert state.find("thing", link=("colour", "red")) == [{"name": "one"}]
        assert state.meta("name") == "value"
        (effect,) = Record(state).effects()
        assert (effect.provider, effect.kind, effect.amount, effect.currency) == (
            "stripe",
            "stripe.thing.done",
            5,
            "USD",
        )


def test_effects_cannot_be_changed_or_removed() -> None:
    with closing(State()) as state:
        Record(state).effect("slack.message", "1", {"text": "x"})
        for statement in ("UPDATE effects SET amount = 1", "DELETE FROM effects"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                state.db.execute(statement)
        assert Record(state).counts() == {"slack.message": 1}


def test_a_failed_transaction_leaves_nothing() -> None:
    def fail(state: State) -> None:
        with state.transaction():
            state.insert("thing", "1", {}, created=0, links={"colour": "red"})
            Record(state).effect("slack.message", "1", {})
            raise RuntimeError("halfway")

    with closing(State()) as state:
        with pytest.raises(RuntimeError, match="halfway"):
            fail(state)
        assert state.get("thing", "1") is None
        assert state.find("thing", link=("colour", "red")) == []
        assert Record(state).counts() == {}


def test_a_second_process_cannot_open_the_file(tmp_path: Path) -> None:
    path = str(tmp_path / "state.sqlite")
    with closing(State(path)), pytest.raises(sqlite3.OperationalError, match="locked"):
        State(path)


def test_state_of_another_version_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "state.sqlite")
    with closing(State(path)) as state:
        state.db.execute("PRAGMA user_version = 99")
    with pytest.raises(RuntimeError, match="version 99"):
        State(path)


def test_pages_go_on_after_the_last_one_seen() -> None:
    with closing(State()) as state:
        for number in range(5):
            state.insert("thing", str(number), {"id": number}, created=number)
        assert [thing["id"] for thing in state.find("thing", limit=2)] == [4, 3]
        assert [thing["id"] for thing in state.find("thing", after="3", limit=2)] == [2, 1]
        assert [thing["id"] for thing in state.find("thing", created=(1, 2))] == [2, 1]
