"""What notifications can be told from its environment. A channel that is not configured is off: its messages are skipped."""

from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """`smtp_url`: smtp://[user:password@]host:port (STARTTLS where offered) or smtps://. Times in seconds."""

    shop_name: Annotated[str, StringConstraints(min_length=1, max_length=18)] = "Ordermesh"
    """Begins every SMS, so it has to be short."""
    smtp_url: SecretStr = SecretStr("")
    email_from: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")] = "orders@localhost"
    twilio_account_sid: str = ""
    twilio_auth_token: SecretStr = SecretStr("")
    twilio_phone_number: str = ""
    twilio_api_base: str = "https://api.twilio.com"
    slack_webhook_url: SecretStr = SecretStr("")
    slack_every: Annotated[float, Field(ge=0, le=60)] = 1.0
    """Between two posts of a process: Slack takes about one a second from a webhook."""
    provider_timeout: Annotated[float, Field(gt=0, le=30)] = 10.0
