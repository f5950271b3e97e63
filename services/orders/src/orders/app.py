"""Where orders is put together."""

from orders.deadlines import deadlines
from orders.handlers import handlers
from orders.schema import schema
from orders.settings import Settings
from orders.store import OrderNumbers
from shared.service import Service


class Orders(Service):
    """The service, with the order numbers that its commands draw."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("orders", settings, handlers=handlers, jobs=deadlines, schema=schema)
        self.order_numbers = OrderNumbers(self.db, settings.order_prefix)


def build(settings: Settings | None = None) -> Orders:
    return Orders(settings or Settings())
