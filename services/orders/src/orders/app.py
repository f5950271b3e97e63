"""Where orders is put together."""

from functools import partial

from strawberry.dataloader import DataLoader

from orders import store
from orders.checkout.checkout import Checkout
from orders.deadlines import deadlines
from orders.handlers import handlers
from orders.lists import export, totals
from orders.schema import schema
from orders.settings import Settings
from orders.store import OrderNumbers
from shared.service import Service


class Orders(Service):
    """The service, with the order numbers that its commands draw, and the readings of those who wait for an order."""

    def __init__(self, settings: Settings) -> None:
        self.checkout = Checkout(settings)
        super().__init__(
            "orders",
            settings,
            handlers=handlers,
            jobs=deadlines,
            schema=schema,
            routes=[export.route(self), self.checkout.guests.signer.route],
            background={"totals": totals.run},
            closing=[self.checkout.close],
        )
        self.order_numbers = OrderNumbers(self.db, settings.order_prefix)
        self.readings = DataLoader(partial(store.anybodys_orders, self.db), cache=False)


def build(settings: Settings | None = None) -> Orders:
    return Orders(settings or Settings())
