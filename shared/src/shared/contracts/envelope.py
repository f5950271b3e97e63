"""A fact and its envelope: CloudEvents 1.0 attributes as Kafka headers (binary mode), JSON as the body.

A fact is a frozen pydantic model that ignores unknown fields, so that a newer producer never breaks an older consumer. A
breaking change is a new class with the same `type`, the next `version`, and `upcast` on the old class.
Source: CloudEvents 1.0.2, Kafka protocol binding 1.0.2 (headers `ce_*`, `content-type`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

FACTS: dict[tuple[str, int], type["Fact"]] = {}
"""Every fact class by (type, version), filled as the classes are defined."""


class InvalidFact(ValueError):
    """The record is not a fact we can read; the message says why in one sentence."""


class Fact(BaseModel):
    """Something that happened, in the past tense. `key` is the id of the aggregate it is about."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str] = ""
    version: ClassVar[int] = 1
    key_field: ClassVar[str] = "order_id"
    is_whole: ClassVar[bool] = False
    """It tells all of its aggregate's state: whoever says it needs no lock, since of two said at once either may be the newest."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        if cls.type:
            known = FACTS.setdefault((cls.type, cls.version), cls)
            if known is not cls:
                raise TypeError(f"{cls.type} v{cls.version} is {known.__name__} already")

    @property
    def key(self) -> str:
        return str(getattr(self, self.key_field))

    def upcast(self) -> "Fact":
        """The same fact in its newest version; an old class overrides this."""
        return self


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who said it, when (UTC), and what led to it. `causation_id` is the event, request or job that caused it."""

    id: UUID
    type: str
    version: int
    source: str
    subject: str
    time: datetime
    correlation_id: str
    causation_id: str

    def headers(self) -> dict[str, str]:
        return {
            "content-type": "application/json",
            "ce_specversion": "1.0",
            "ce_id": str(self.id),
            "ce_type": self.type,
            "ce_source": self.source,
            "ce_subject": self.subject,
            "ce_time": self.time.isoformat(),
            "ce_dataschema": f"ordermesh:{self.type}/v{self.version}",
            "ce_correlationid": self.correlation_id,
            "ce_causationid": self.causation_id,
        }

    @classmethod
    def from_headers(cls, headers: dict[str, str]) -> Self:
        """Raises InvalidFact when a required attribute is missing or malformed."""
        try:
            return cls(
                id=UUID(headers["ce_id"]),
                type=headers["ce_type"],
                version=_schema_version(headers["ce_dataschema"]),
                source=headers["ce_source"],
                subject=headers.get("ce_subject", ""),
                time=datetime.fromisoformat(headers["ce_time"]),
                correlation_id=headers.get("ce_correlationid", headers["ce_id"]),
                causation_id=headers.get("ce_causationid", ""),
            )
        except KeyError as missing:
            raise InvalidFact(f"header {missing} is missing") from missing
        except ValueError as malformed:
            raise InvalidFact(f"malformed header: {malformed}") from malformed


def _schema_version(dataschema: str) -> int:
    _, _, version = dataschema.rpartition("/v")
    if not version.isascii() or not version.isdigit():
        raise InvalidFact(f"dataschema {dataschema!r} does not end in /v<number>")
    return int(version)


def parse_fact(envelope: Envelope, body: bytes) -> Fact:
    """The body as the newest version of its fact. Raises InvalidFact."""
    fact_class = FACTS.get((envelope.type, envelope.version))
    if fact_class is None:
        raise InvalidFact(f"{envelope.type!r} v{envelope.version} is no fact that we know")
    try:
        fact = fact_class.model_validate_json(body)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise InvalidFact(f"{envelope.type} v{envelope.version}: {where}: {first['msg']}") from invalid
    return fact.upcast()
