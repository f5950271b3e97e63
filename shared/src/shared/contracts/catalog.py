"""What the catalogue says: on `catalog-skus` only the shop's own principal and orders (for finance staff) may write."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import StringConstraints

from shared.contracts.envelope import Fact
from shared.contracts.money import Currency, Minor

SkuId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]


class SkuListed(Fact):
    """A SKU's whole present state: the newest one wins, whoever says it. Prices in minor units, weight in grams.

    Ordered before `available_from` (UTC), it is a pre-order: paid at once, sent from then on.
    """

    type: ClassVar[str] = "sku.listed"
    key_field: ClassVar[str] = "sku_id"
    is_whole: ClassVar[bool] = True

    sku_id: SkuId
    product_id: SkuId
    name: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    price: Minor
    shipping_price: Minor
    currency: Currency
    weight_grams: Minor
    available: bool = True
    available_from: datetime | None = None
