"""Where shipping is put together."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.service import Service
from shipping import webhooks
from shipping.handlers import handlers
from shipping.provider import Shippo
from shipping.schema import schema
from shipping.settings import Settings
from shipping.worker import jobs_for


class Shipping(Service):
    """The service, with its Shippo account and, where a secret is set, the endpoint of Shippo's webhooks."""

    def __init__(self, settings: Settings) -> None:
        shippo = Shippo(settings)
        self._secrets, self._live = settings.webhook_secrets, settings.is_live
        endpoint = Route("/webhooks/shippo", self._receive, methods=["POST"])
        super().__init__(
            "shipping",
            settings,
            handlers=handlers,
            jobs=jobs_for(shippo, lambda: self.db, settings),
            schema=schema,
            routes=[endpoint] if self._secrets else [],
            closing=[shippo.close],
        )

    async def _receive(self, request: Request) -> Response:
        return await webhooks.receive(request, self.db, self._secrets, live=self._live)


def build(settings: Settings | None = None) -> Shipping:
    return Shipping(settings or Settings())
