"""Where payments is put together."""

import structlog

from payments import webhooks
from payments.handlers import handlers
from payments.provider import Stripe
from payments.schema import schema
from payments.settings import Settings
from payments.worker import jobs_for
from shared.service import Service
from shared.webhooks import Request

log = structlog.get_logger(__name__)


class Payments(Service):
    """The service, with its Stripe account and, where a secret is set, the endpoint of Stripe's webhooks."""

    def __init__(self, settings: Settings) -> None:
        stripe = Stripe(settings.stripe_api_key, settings.stripe_api_base)
        self._secrets = settings.webhook_secrets
        super().__init__(
            "payments",
            settings,
            handlers=handlers,
            jobs=jobs_for(stripe),
            schema=schema,
            webhooks={"/webhooks/stripe": self._receive} if self._secrets else None,
            closing=[stripe.close],
        )

    async def start(self) -> None:
        if not self._secrets:
            log.warning("STRIPE_WEBHOOK_SECRET is empty: captures will not be heard")
        await super().start()

    async def _receive(self, request: Request) -> int:
        return await webhooks.receive(request, self.db, self.arrivals, self._secrets)


def build(settings: Settings | None = None) -> Payments:
    return Payments(settings or Settings())
