"""What the broker holds against what was said: a missing, an unknown and an overtaken event are noticed."""

from typing import Any
from uuid import UUID

from chaos.topics import overtaken
from ordermesh.evidence import Evidence, Row

A1, A2, B1 = (UUID(int=n) for n in (1, 2, 3))


def evidence() -> Evidence:
    def fact(id_: int, event_id: UUID, key: str) -> dict[str, Any]:
        return {
            "service": "orders",
            "id": id_,
            "event_id": event_id,
            "topic": "order-events",
            "key": key,
            "type": "order.paid",
        }

    facts: list[Row] = [fact(1, A1, "a"), fact(2, A2, "a"), fact(3, B1, "b")]
    return Evidence({}, {}, {}, {}, {}, {}, {}, {}, facts, [], [], [])


def found(*ids: UUID) -> list[str]:
    return [violation.what for violation in overtaken(evidence(), {"order-events 0": list(ids)})]


def test_events_may_come_twice_and_keys_may_mix() -> None:
    assert found(A1, B1, A1, A2, A1, A2) == []


def test_a_missing_event_is_noticed() -> None:
    assert found(A1, A2) == ["order.paid never reached order-events"]


def test_an_overtaken_event_is_noticed() -> None:
    assert found(A2, B1, A1) == ["order.paid was overtaken"]


def test_an_event_that_no_log_has_is_noticed() -> None:
    assert "is in no log" in found(A1, A2, B1, UUID(int=9))[0]
