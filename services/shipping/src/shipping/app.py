"""Where shipping is put together."""

from shared.service import Service
from shared.signing import Signer
from shared.webhooks import Request
from shipping import webhooks
from shipping.handlers import handlers
from shipping.provider import Shippo
from shipping.quotes import Quotes
from shipping.schema import schema
from shipping.settings import Settings
from shipping.worker import jobs_for


class Shipping(Service):
    """The service, with its Shippo account, its quotes and, where a secret is set, the endpoint of Shippo's webhooks."""

    def __init__(self, settings: Settings) -> None:
        shippo = Shippo(settings)
        signer = Signer("shipping", settings.quote_key.get_secret_value())
        self.quotes = Quotes(shippo, signer, settings)
        self._secrets, self._live = settings.webhook_secrets, settings.is_live
        super().__init__(
            "shipping",
            settings,
            handlers=handlers,
            jobs=jobs_for(shippo, lambda: self.db, settings),
            schema=schema,
            webhooks={"/webhooks/shippo": self._receive} if self._secrets else None,
            routes=[signer.route],
            closing=[shippo.close],
        )

    async def _receive(self, request: Request) -> int:
        return await webhooks.receive(request, self.db, self.arrivals, self._secrets, live=self._live)


def build(settings: Settings | None = None) -> Shipping:
    return Shipping(settings or Settings())
