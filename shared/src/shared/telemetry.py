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
RELAYED = Counter("ordermesh_events_relayed", "Events acknowledged by the broker")
UNKNOWN_OUTCOMES = Counter("ordermesh_unknown_outcomes", "Provider calls with an unknown outcome", ["kind"])
JOBS_FAILED = Counter("ordermesh_jobs_failed", "Jobs given up: a person has to look")
CONSUMER_PAUSED = Gauge(
    "ordermesh_consumer_paused", "1 while the consumer waits for the database or was stopped"
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
_ADDRESSES = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+|\+\d{7,15}|\b(sk|pk|whsec|pi_\w+_secret)_\w+")


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Nothing personal and no secret leaves in a log line: by the key's name, and by what a value looks like."""
    for key, value in event.items():
        if _PRIVATE.search(key) and key != "logger_name":
            event[key] = "[redacted]"
        elif isinstance(value, str):
            event[key] = _ADDRESSES.sub("[redacted]", value)
    return event


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
    for noisy in ("aiokafka", "faststream", "uvicorn.access", "httpx", "sqlalchemy"):
        logging.getLogger(noisy).setLevel("WARNING")
    # It logs every refusal as an error, with the caller's own words; `shared.graphql` logs what is our fault.
    logging.getLogger("strawberry.execution").setLevel("CRITICAL")


def _service(name: str) -> Any:
    def add(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = name
        return event

    return add
