"""Logs as JSON lines with a correlation id and no personal data or secrets, and the metrics every service shares."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from prometheus_client import Counter, Gauge

MESSAGES = Counter("ordermesh_messages_handled", "Facts handled", ["consumer"])
DEAD_LETTERS = Counter("ordermesh_dead_letters", "Records buried or held", ["consumer"])
REDRIVEN = Counter("ordermesh_redriven", "Dead letters redriven, by outcome", ["consumer", "outcome"])
RELAYED = Counter("ordermesh_events_relayed", "Events acknowledged by the broker")
UNKNOWN_OUTCOMES = Counter("ordermesh_unknown_outcomes", "Provider calls with an unknown outcome", ["kind"])
JOBS_FAILED = Counter("ordermesh_jobs_failed", "Jobs given up: a person has to look")
CONSUMER_PAUSED = Gauge(
    "ordermesh_consumer_paused",
    "1 while the topic's consumer waits for the database or was stopped",
    ["topic"],
)
HANDLED_AT = Gauge(
    "ordermesh_last_handled_timestamp_seconds", "When a fact was last handled", ["consumer", "topic"]
)
# Read from the database at a scrape, by `shared.backlog`; they say what is there now, whichever replica is asked.
OUTBOX_PENDING = Gauge(
    "ordermesh_outbox_pending", "Events that wait to be sent (counted up to 10,000)", ["service"]
)
OUTBOX_AGE = Gauge(
    "ordermesh_outbox_age_seconds", "How long ago the first event that waits was said", ["service"]
)
INBOX_NEWEST = Gauge("ordermesh_inbox_newest_timestamp_seconds", "When a fact was last heard", ["service"])
DEAD_LETTERS_HELD = Gauge(
    "ordermesh_dead_letters_held",
    "Dead letters there are (counted up to 10,000)",
    ["service", "topic", "blocking"],
)
HELD_KEYS = Gauge("ordermesh_held_keys", "Aggregates whose facts wait behind a dead letter", ["service"])
JOBS_AGE = Gauge("ordermesh_jobs_due_age_seconds", "How long the most overdue job waits", ["service", "kind"])
JOBS_UNKNOWN = Gauge(
    "ordermesh_jobs_unknown", "Provider calls whose last attempt has an unknown outcome", ["service", "kind"]
)
CONSUMER_LAG = Gauge(
    "ordermesh_consumer_lag",
    "Records on the broker that the consumer has not taken, as of its last fetch",
    ["group", "topic", "partition"],
)

_PRIVATE = re.compile(
    r"secret|token|password|authorization|email|phone|address|street|recipient|contact|(^|_)name$|signature",
    re.IGNORECASE,
)
_LOOKS_PRIVATE = re.compile(
    r"[\w.+-]+@[\w-]+\.[\w.]+|\+\d{7,15}"
    r"|\b(?:sk|rk|pk|whsec|pi_\w+_secret)_\w+|\beyJ[\w-]+\.[\w.-]+|(?<=://)[^/\s@]+(?=@)"
    r"|DETAIL:.*"  # PostgreSQL quotes the row there, with all that is private in it
)
"""Email addresses, phone numbers, keys, tokens, credentials in a URL."""


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Nothing personal and no secret leaves in a log line: by the key's name, and by what a value looks like."""
    for key, value in event.items():
        event[key] = _cleaned(key, value)
    return event


def masked(text: str) -> str:
    """Without what looks personal or secret."""
    return _LOOKS_PRIVATE.sub("[redacted]", text)


def _cleaned(key: str, value: Any) -> Any:
    if _PRIVATE.search(key) and key != "logger_name":
        return "[redacted]"
    match value:
        case str():
            return masked(value)
        case dict():
            return {inner: _cleaned(str(inner), part) for inner, part in value.items()}
        case list() | tuple():
            return [_cleaned(key, part) for part in value]
        case _:
            return value


def configure(service: str, level: str = "INFO", log_format: str = "json") -> None:
    """Once, at start: structlog and the standard library's loggers both end up in the same lines on stderr."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _service(service), renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for noisy in ("uvicorn.access", "sqlalchemy"):
        logging.getLogger(noisy).setLevel("WARNING")
    # It logs every refusal as an error, with the caller's own words; `shared.graphql` logs what is our fault.
    logging.getLogger("strawberry.execution").setLevel("CRITICAL")


def _service(name: str) -> Any:
    def add(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = name
        return event

    return add
