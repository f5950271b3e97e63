"""What shipping can be told from its environment."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from shared.contracts.orders import Address
from shared.settings import ServiceSettings

_WAREHOUSE = Address(
    name="Ordermesh Warehouse",
    street="215 Clayton St",
    city="San Francisco",
    state="CA",
    zip_code="94117",
    country="US",
    phone="+14155550100",
)
"""For development: Shippo's own example address."""


class Parcel(BaseModel):
    """The box that everything is packed in, in centimetres; its weight comes from the order."""

    model_config = ConfigDict(frozen=True)

    length: Annotated[float, Field(gt=0)] = 30
    width: Annotated[float, Field(gt=0)] = 22
    height: Annotated[float, Field(gt=0)] = 10


class Settings(ServiceSettings):
    """An empty `shippo_webhook_secret` switches the webhook off; several, separated by commas, are for rotation."""

    shippo_api_key: SecretStr = SecretStr("")
    shippo_api_base: str = "https://api.goshippo.com"
    shippo_webhook_secret: SecretStr = SecretStr("")
    shippo_timeout: Annotated[float, Field(gt=0, le=40)] = 20.0
    """Seconds for one call; less than what a lease allows a job."""
    ship_from: Address = _WAREHOUSE
    parcel: Parcel = Parcel()
    label_second_look: Annotated[float, Field(ge=0)] = 120.0
    """Seconds between two looks for a label whose purchase ended unknown; only when both see none is it bought again."""

    quote_key: SecretStr = SecretStr("")
    """The private Ed25519 key (PEM) that signs quotes; without one, quotes die with the process."""
    quote_seconds: Annotated[int, Field(ge=1, le=86_400)] = 1800
    """How long a quote is good for: much less than the week for which Shippo sells its rate."""

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        every = self.shippo_webhook_secret.get_secret_value().split(",")
        return tuple(secret.strip() for secret in every if secret.strip())

    @property
    def is_live(self) -> bool:
        """Whether the key buys real postage: then test events are not for us."""
        return self.shippo_api_key.get_secret_value().startswith("shippo_live_")
