"""What every service can be told from its environment. The only modules that read the environment are named settings.py."""

import re
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from shared import crash
from shared.contracts.topics import TOPICS


class Issuer(BaseModel):
    """Whose tokens we believe: `jwks_url` has the keys, `audience` must be among the token's audiences.

    `roles` are those that it may give (only orders' own issuer gives `guest`). Staff whose token names no scope of ours have all of
    them, unless `scopes_required`.
    """

    model_config = ConfigDict(frozen=True)

    issuer: str
    jwks_url: str
    audience: str = "ordermesh"
    role_claim: str = "role"
    scope_claim: str = "scope"
    scopes_required: bool = False
    roles: frozenset[str] = frozenset({"anonymous", "shopper", "staff", "partner"})


class HttpSettings(BaseSettings):
    """Where a process listens (loopback unless configured), whom it believes and how it logs."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    auth_issuers: tuple[Issuer, ...] = ()


Known = TypeVar("Known", bound=BaseSettings)


def from_environment(settings: type[Known]) -> Known:
    """The settings, or the process ends with a sentence per variable that is missing or makes no sense (exit code 1)."""
    try:
        return settings()
    except ValidationError as invalid:
        problems = invalid.errors(include_url=False, include_input=False, include_context=False)
        lines = (f"{'.'.join(map(str, problem['loc'])).upper()}: {problem['msg']}" for problem in problems)
        raise SystemExit("\n".join(lines)) from None
    except SettingsError as unreadable:
        # It names the field, and its cause what was written there: perhaps a secret.
        field = re.search(r'field "(\w+)"', str(unreadable))
        raise SystemExit(f"{field[1].upper() if field else 'A setting'}: no JSON") from None


class DatabaseSettings(BaseSettings):
    """Where a service's own PostgreSQL is."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    database_url: SecretStr


class ServiceSettings(DatabaseSettings, HttpSettings):
    """A service with a database and a place on the bus. Times in seconds, retention in days."""

    database_pool_size: Annotated[int, Field(ge=2, le=200)] = 8
    kafka_url: str
    kafka_idempotence: bool = True
    kafka_fetch_max_wait_ms: Annotated[int, Field(ge=1, le=30_000)] = 500
    consumer_stuck_after: Annotated[float, Field(gt=0)] = 120.0
    """When a consumer's loop has not come round for so long, the service is no longer alive: only a restart helps."""
    event_log_retention_days: Annotated[int, Field(ge=7)] = 14
    inbox_retention_days: Annotated[int, Field(ge=30)] = 30
    outcome_wait: Annotated[float, Field(ge=0, le=30)] = 5.0
    """How long a mutation waits for other services' outcomes; the gateway's timeout must be longer."""
    job_lease: Annotated[float, Field(ge=5, le=600)] = 60.0
    """How long a worker has a provider call to itself; a call whose worker died is taken over after that."""
    ordermesh_crash_at: crash.Place | None = None
    """For fault tests alone: where this process is to die."""

    @model_validator(mode="after")
    def _remember_longer_than_anything_is_repeated(self) -> Self:
        """Raises ValueError: an event replayed after the inbox has forgotten it would be handled twice."""
        horizon = max(self.event_log_retention_days, *(topic.retention_days for topic in TOPICS))
        if self.inbox_retention_days <= horizon:
            raise ValueError(
                f"INBOX_RETENTION_DAYS must be more than {horizon}, the longest that events are kept"
            )
        return self
