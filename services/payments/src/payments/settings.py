"""What payments can be told from its environment."""

from pydantic import SecretStr

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """`stripe_webhook_secret` may name several, comma-separated, while one is being rotated; empty turns the endpoint off."""

    stripe_api_key: SecretStr
    stripe_api_base: str = "https://api.stripe.com"
    stripe_webhook_secret: SecretStr = SecretStr("")

    @property
    def webhook_secrets(self) -> tuple[SecretStr, ...]:
        """The secrets of which any one may have signed a webhook."""
        parts = (part.strip() for part in self.stripe_webhook_secret.get_secret_value().split(","))
        return tuple(SecretStr(part) for part in parts if part)
