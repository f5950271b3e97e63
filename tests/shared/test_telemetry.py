"""Nothing personal and no secret leaves in a log line; every line says which story it belongs to."""

import io
import json
import logging
from collections.abc import Iterator

import asyncpg
import pytest
import structlog

from shared import telemetry

CANARIES = {
    "email": "canary@example.com",
    "phone": "+14155550199",
    "client_secret": "pi_3abc_secret_9xyz",
    "authorization": "Bearer eyJhbGciOi",
    "shipping_address": {"street": "1 Canary Row"},
    "name": "Carla Canary",
}


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    telemetry.configure("orders", "INFO", "json")
    yield out
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    structlog.reset_defaults()


def test_fields_that_are_private_by_name_are_redacted(lines: io.StringIO) -> None:
    structlog.get_logger("test").warning("told", order_id="o1", **CANARIES)
    line = json.loads(lines.getvalue())
    assert line["order_id"] == "o1"
    assert {line[name] for name in CANARIES} == {"[redacted]"}


def test_what_looks_private_is_redacted_wherever_it_stands(lines: io.StringIO) -> None:
    structlog.get_logger("test").warning(
        "told", reason="550 canary@example.com and +14155550199 with sk_test_canary and pi_1_secret_canary"
    )
    logging.getLogger("library").warning("mail to canary@example.com failed")
    assert "canary" not in lines.getvalue()
    assert "4155550199" not in lines.getvalue()


def test_what_looks_private_is_redacted_inside_of_values_and_of_tracebacks(lines: io.StringIO) -> None:
    log = structlog.get_logger("test")
    log.warning("told", order={"id": "o1", "email": "canary", "notes": ["call +14155550199"]})
    log.warning("told", reason="postgresql://orders:canary@db/orders refused eyJhbGciOi.eyJjYW5hcnki.canary")
    try:
        raise asyncpg.CheckViolationError.new(
            {"C": "23514", "M": "violated", "D": "Failing row: (1, Carla Canary)"}
        )
    except asyncpg.PostgresError:
        log.exception("told")
    assert "canary" not in lines.getvalue().lower()
    assert "4155550199" not in lines.getvalue()
    assert "o1" in lines.getvalue()
    assert "CheckViolationError" in lines.getvalue()


def test_a_line_says_its_service_and_the_story_it_belongs_to(lines: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(correlation_id="story-1"):
        structlog.get_logger("test").warning("told")
        logging.getLogger("library").warning("also told")
    for line in map(json.loads, lines.getvalue().splitlines()):
        assert (line["service"], line["correlation_id"]) == ("orders", "story-1")
