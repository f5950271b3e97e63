"""The catalogue as finance staff change it: they say what the shop could say, on the same topic, and orders hears it like everybody."""

from uuid import UUID

import strawberry
from pydantic import ValidationError
from strawberry import UNSET
from strawberry.utils.str_converters import to_camel_case

from orders.answering import text, time_of
from orders.checkout import store
from orders.checkout.inputs import amount_of, bad
from orders.graph import SkuNode
from shared.auth import Scope
from shared.commands import execute
from shared.contracts.catalog import SkuListed
from shared.graphql import Info
from shared.statements import Row
from shared.tx import Tx

HEAVIEST = 1_000_000
"""In grams: no parcel is."""


@strawberry.input(
    description="All of it each time: what is left out is as for a new one. `price` and `shippingPrice` are amounts in `currency`, which"
    " is the shop's; `availableFrom` is a time in ISO 8601 with its offset: ordered before then, it is a pre-order."
)
class SaveSkuInput:
    id: strawberry.ID
    product_id: str
    name: str
    price: float
    shipping_price: float
    currency: str
    weight_grams: int
    available: bool = True
    available_from: str | None = UNSET


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description="A new SKU, or how one that there is will be sold; the newest word wins, the shop's or this. Answers as it is sold once"
        " orders has heard it, or after a bounded wait what was accepted. Staff: finance."
    )
    async def save_sku(self, info: Info, input: SaveSkuInput) -> SkuNode:  # noqa: A002 - the habit of GraphQL
        info.context.principal.require_staff(Scope.FINANCE)
        service = info.context.service
        listed = _checked(input, service.settings.currency)

        async def say(tx: Tx) -> str:
            """Answers the event's id: so a repeat waits for the first one's."""
            tx.emit(listed)
            return str(tx.said[-1].event_id)

        event_id = await execute(
            service.db,
            "orders",
            say,
            correlation_id=info.context.correlation_id,
            once=info.context.once("saveSku", listed.model_dump()),
        )

        async def read() -> Row | None:
            return await store.sku_heard(service.db, listed.sku_id, UUID(event_id))

        wait = service.settings.outcome_wait
        heard = await service.waits.until(listed.sku_id, read, lambda sku: sku is not None, wait)
        return SkuNode.of(listed.sku_id, heard or listed)


def _checked(given: SaveSkuInput, currency: str) -> SkuListed:
    """Raises Refusal BAD_INPUT, which tells the argument's name."""
    if given.currency != currency:
        raise bad("currency", f"is {currency}, in which this shop sells")
    if not 0 <= given.weight_grams <= HEAVIEST:
        raise bad("weightGrams", f"is 0 to {HEAVIEST}")
    try:
        return SkuListed(
            sku_id=text("id", given.id.strip()),
            product_id=text("productId", given.product_id.strip()),
            name=text("name", given.name.strip()),
            price=amount_of("price", given.price, currency),
            shipping_price=amount_of("shippingPrice", given.shipping_price, currency),
            currency=currency,
            weight_grams=given.weight_grams,
            available=given.available,
            available_from=time_of("availableFrom", given.available_from),
        )
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_input=False)[0]
        argument = to_camel_case(str(first["loc"][0]))
        raise bad("id" if argument == "skuId" else argument, f"is refused: {first['msg']}") from invalid
