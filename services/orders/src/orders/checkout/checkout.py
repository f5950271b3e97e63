"""What checkout keeps for the life of the process: the shop's terms, who signs for guests, whose quotes count."""

from orders.checkout.basket import Delivery, Terms
from orders.checkout.guests import Guests
from orders.checkout.pricing import Fee
from orders.checkout.quotes import Quotes
from orders.checkout.taxes import TaxTable
from orders.settings import Settings
from shared.errors import Code, Refusal


class Checkout:
    def __init__(self, settings: Settings) -> None:
        fee = Fee(settings.platform_fee_bps, settings.platform_fee_fixed)
        self.terms = Terms(TaxTable(settings.tax_rates, settings.tax_shipping), fee)
        key = settings.guest_key.get_secret_value()
        self.guests = Guests(key, settings.guest_token_seconds, settings.guest_orders_per_minute)
        self.quotes = Quotes(settings.quote_issuer)
        self._settings = settings

    async def close(self) -> None:
        await self.quotes.close()

    def at_flat_rate(self, speed: str) -> Delivery:
        """Raises Refusal BAD_INPUT for a speed that is not offered."""
        rates = self._settings.shipping_rates
        if speed not in rates:
            raise Refusal(Code.BAD_INPUT, f"deliverySpeed is one of: {', '.join(rates)}")
        return Delivery(speed, rates[speed], self._settings.delivery_days.get(speed))
