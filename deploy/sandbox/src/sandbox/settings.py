"""What the environment decides about the sandbox. The only module that reads it."""

from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

TWO_DAYS = 172_800.0


class Settings(BaseSettings):
    """Names in the environment are the upper-case field names.

    `port` and `smtp_port` 0 choose free ports. `state` is the path of a SQLite file; empty keeps everything in memory.
    An empty webhook URL means that the provider sends nothing; `stripe_webhook_events` are those that Stripe's endpoint is subscribed
    to (its `enabled_events`), a JSON list, empty for all. `issuer_url` defaults to this server's own /issuer.
    """

    model_config = SettingsConfigDict(extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(8010, ge=0, le=65_535)
    smtp_port: int = Field(8025, ge=0, le=65_535)
    state: str = ""
    stripe_webhook_url: str = ""
    stripe_webhook_secret: SecretStr = SecretStr("")
    stripe_webhook_events: frozenset[str] = frozenset()
    shippo_webhook_url: str = ""
    shippo_webhook_secret: SecretStr = SecretStr("")
    issuer_url: str = ""
    fee_delay_seconds: float = Field(0.5, ge=0, description="from capture to the balance transaction's fee")
    available_delay_seconds: float = Field(TWO_DAYS, ge=0, description="from capture to funds available")
    log_level: str = "INFO"

    @model_validator(mode="after")
    def _sign_what_is_sent(self) -> Self:
        """A webhook without a secret could not be verified by anyone: raises ValueError."""
        for provider in ("stripe", "shippo"):
            url: str = getattr(self, f"{provider}_webhook_url")
            secret: SecretStr = getattr(self, f"{provider}_webhook_secret")
            if url and not secret.get_secret_value():
                raise ValueError(f"{provider.upper()}_WEBHOOK_URL needs {provider.upper()}_WEBHOOK_SECRET")
        return self
