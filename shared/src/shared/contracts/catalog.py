"""What the shop's catalogue says: only its own principal may write to `catalog-skus`."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import StringConstraints

from shared.contracts.envelope import Fact
from shared.contracts.money import Currency, Minor

SkuId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]


class SkuListed(Fact):
    """A SKU's whole present state: the newest one wins. Prices in minor units, weight in grams.

    Ordered before `available_from` (UTC), it is a pre-order: paid at once, sent from then on.
    """

    type: ClassVar[str] = "sku.listed"
    key_field: ClassVar[str] = "sku_id"

    sku_id: SkuId
    product_id: SkuId
    name: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    price: Minor
    shipping_price: Minor
    currency: Currency
    weight_grams: Minor
    available: bool = True
    available_from: datetime | None = None
