"""The launcher's own reading of the environment; nothing else in this package looks at it.

A blank variable counts as absent. The providers' variables are not fields: `programs` hands each to its one service.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Json, SecretStr, ValidationError

from ordermesh.errors import LauncherError

_PACKAGED_IN = Path(__file__).resolve().parents[4]
CHECKOUT = _PACKAGED_IN if (_PACKAGED_IN / "deploy" / "local").is_dir() else Path.cwd()


class Settings(BaseModel):
    """What the user may choose; each field is the environment variable of the same name in capitals."""

    model_config = ConfigDict(frozen=True)

    ordermesh_home: Path = CHECKOUT / ".run"
    ordermesh_fast: bool = False
    """True gives up durability for speed (tests): a crash of the machine may lose the embedded databases."""
    gateway_port: int | None = Field(default=None, ge=1, le=65535)
    ordermesh_kafka: Literal["docker", "apache", "embedded"] | None = None
    """The broker to start (and to fetch, if need be). None: KAFKA_URL, else the first of these that is there already."""
    ordermesh_cache: Path = Path.home() / ".cache" / "ordermesh"
    """Where Apache Kafka's jars are kept."""
    require_kafka: Literal["apache"] | None = None
    """What is not to be replaced by another broker: then it is fetched, or the start fails."""
    kafka_url: str | None = None
    kafka_idempotence: bool = True
    kafka_fetch_max_wait_ms: int = 500
    orders_database_url: SecretStr | None = None
    payments_database_url: SecretStr | None = None
    shipping_database_url: SecretStr | None = None
    notifications_database_url: SecretStr | None = None
    auth_issuers: Json[tuple[dict[str, Any], ...]] = ()
    """Issuers to believe beside the sandbox's own."""
    environment: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """The whole environment as it was found: the base of every child's own."""

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None, **chosen: Any) -> Self:
        """From the given environment (this process's own by default); `chosen` wins (the command line).

        Raises LauncherError naming the variable that makes no sense.
        """
        source = os.environ if environment is None else environment
        found = {name: value for name, value in source.items() if value.strip()}
        fields = {name: found[name.upper()] for name in cls.model_fields if name.upper() in found}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        try:
            return cls.model_validate({**fields, **chosen, "environment": found})
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            raise LauncherError(f"{str(first['loc'][0]).upper()} makes no sense: {first['msg']}") from None

    def database_url(self, service: str) -> str | None:
        """The database that the environment names for a service, if it does."""
        url: SecretStr | None = getattr(self, f"{service}_database_url")
        return url.get_secret_value() if url else None
