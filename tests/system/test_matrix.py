"""Who may do what: every operation of the graph, and every field of an order, for everybody there is. Taken from the schema.

What is read comes first: the operations change the orders that all of it is about.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from ordermesh.shop import ADDRESS, BUY_LABEL, HOLD, RELEASE, Reading, has_shipment
from ordermesh.stories import MUG
from support.matrix import document, leaves, operations, selection, storefront
from support.world import World

pytestmark = pytest.mark.parametrize("world", ["once"], indirect=True)

SCHEMA = storefront()
OPERATIONS = operations(SCHEMA)
STAFF = {"support", "fulfilment", "finance"}
SEES = STAFF | {"owner", "guest"}
"""Those for whom the order is there; for a guest it is its own one."""
SIGNED_IN = SEES | {"other shopper", "other guest", "partner"}
EVERYBODY = SIGNED_IN | {"anonymous"}
PEOPLE = (*sorted(EVERYBODY), "expired")

MAY: dict[str, set[str]] = {
    "query order": SEES,
    "query orderByNumber": SEES,
    "query explainOrder": SEES,
    "query previewOrderEdit": SEES - {"fulfilment", "finance"},
    "query myOrders": SIGNED_IN,
    "query me": {"owner"},
    "query orders": STAFF,
    "query ordersByStatus": STAFF,
    "query pendingOrders": STAFF,
    "query processingOrders": STAFF,
    "query shippedOrders": STAFF,
    "query orderStats": STAFF,
    "query orderSeries": STAFF,
    "query discountCodes": STAFF,
    "query priceOrder": EVERYBODY,
    "query shippingQuotes": EVERYBODY,
    "query skus": EVERYBODY,
    "mutation createOrder": STAFF | {"owner", "other shopper", "anonymous"},
    "mutation cancelOrder": {"support", "owner", "guest"},
    "mutation cancelOrderItems": {"support", "owner", "guest"},
    "mutation editOrder": {"support", "owner", "guest"},
    "mutation holdOrder": {"support"},
    "mutation releaseHold": {"support"},
    "mutation updateOrderNotes": {"support"},
    "mutation updateOrderMetadata": {"support"},
    "mutation refundOrder": {"support", "finance"},
    "mutation retryRefund": {"support", "finance"},
    "mutation saveDiscountCode": {"finance"},
    "mutation saveSku": {"finance"},
    "mutation confirmExternalRefund": {"finance"},
    "mutation updateOrderStatus": {"fulfilment"},
    "mutation updateOrdersStatus": {"fulfilment"},
    "mutation updateOrderShipping": {"fulfilment"},
    "mutation addOrderTracking": {"fulfilment"},
    "mutation markOrderDelivered": {"fulfilment"},
    "mutation buyShippingLabel": {"fulfilment"},
    "mutation dispatchShipment": {"fulfilment"},
    "mutation splitShipment": {"fulfilment"},
    "mutation voidShippingLabel": {"fulfilment"},
}
"""Whom an operation lets in. The others are told that they are nobody, that it is not for them, or that there is no such thing."""

FOR_STAFF = {
    *("stripeFee", "payment.fee", "payment.feeCurrency"),
    *("actualShippingCost", "shippingMargin", "shipments.cost", "shippoLabelUrl", "shipments.labelUrl"),
    *("shippoShipmentId", "shippoRateId"),
    *("notes", "holds.reason", "holds.heldBy", "holds.wayOut"),
    *("timeline.actor", "notifications.recipient"),
}
"""What only staff may know of an order: its owner is told nothing, or less (which role acted, and not who)."""

TURNED_AWAY = {"UNAUTHENTICATED", "FORBIDDEN", "ORDER_NOT_FOUND", "SHIPMENT_NOT_FOUND"}


@dataclass(frozen=True)
class Cast:
    """An order, its guest's twin, and the Authorization header of everybody."""

    order: Reading
    headers: dict[str, dict[str, str]]
    own: dict[str, Reading]

    def order_of(self, who: str) -> Reading:
        return self.own.get(who, self.order)


def test_every_operation_says_who_may_use_it(world: World) -> None:
    assert set(MAY) == set(OPERATIONS)


async def test_an_order_shows_all_of_it_to_staff_and_to_its_owner_all_but_what_is_theirs(
    world: World, cast: Cast
) -> None:
    staff = await page(world, cast, "finance", cast.order)
    for who in STAFF:
        assert await page(world, cast, who, cast.order) == staff
    owner = await page(world, cast, "owner", cast.order)
    assert kept_from(staff, owner) == FOR_STAFF
    assert _SUSPICION in str(staff)
    assert _SUSPICION not in str(owner)
    guests = cast.own["guest"]
    of_guest = await page(world, cast, "finance", guests)
    assert kept_from(of_guest, await page(world, cast, "guest", guests)) == FOR_STAFF


def kept_from(staff: Any, owner: Any) -> set[str]:
    """The fields of which the owner is told less, or something else, than staff."""
    told, seen = values(staff), values(owner)
    return {path for path in told if not seen[path] or not seen[path] <= told[path]}


def values(answer: Any) -> dict[str, set[Any]]:
    """What is told under each path, of a list all that its items have there."""
    told: dict[str, set[Any]] = defaultdict(set)
    for path, value in leaves(answer):
        if value is not None:
            told[path].add(value)
    return told


@pytest.mark.parametrize("who", [who for who in PEOPLE if who not in SEES])
async def test_for_whom_it_does_not_concern_an_order_has_no_field(world: World, cast: Cast, who: str) -> None:
    assert await page(world, cast, who, cast.order) is None
    assert await page(world, cast, who, cast.own["guest"]) is None


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_an_operation_lets_in_whom_it_is_for(world: World, cast: Cast, operation: str) -> None:
    """Those who are turned away come first: whoever is let in may change the order."""
    may = MAY[operation]
    let_in = set()
    for who in sorted(PEOPLE, key=lambda who: who in may):
        if await lets_in(world, cast, operation, who):
            let_in.add(who)
    assert let_in == may


@pytest.fixture(scope="module")
async def cast(world: World) -> Cast:
    """One order of a shopper and two of guests, paid and noted, so that there is something to hide."""
    shop = world.shop
    order = await shop.place("alice", {MUG: 2})
    headers = {
        "owner": await _bearer(world, "shopper", "alice"),
        "other shopper": await _bearer(world, "shopper", "trudy"),
        "partner": await _bearer(world, "partner", "acme"),
        "expired": await _bearer(world, "staff", "sam", ttl_seconds=-3600),
        "anonymous": {},
        **{scope: await _bearer(world, "staff", f"staff-{scope}", scope=scope) for scope in STAFF},
    }
    own: dict[str, Reading] = {}
    for who in ("guest", "other guest"):
        placed = await ask(world, {}, _PLACE_AS_GUEST, {"input": _guests_order()})
        own[who] = placed["data"]["createOrder"]
        headers[who] = {"authorization": f"Bearer {own[who]['guestToken']}"}
    # The other guest has a token of its own order, and tries it on the shopper's.
    del own["other guest"]
    for worked_on in (order, own["guest"]):
        await _work_on(world, worked_on["id"])
    await world.network.settle()
    return Cast(order, headers, own)


async def _work_on(world: World, order_id: str) -> None:
    """Paid and settled, held and released, noted, labelled: so that there is something to hide."""
    shop = world.shop
    payable = await shop.until(order_id, lambda seen: bool(seen["payment"]))
    await shop.pay(payable, "pm_card_bypassPending")
    await shop.until(order_id, has_shipment("PREPARED"))
    await shop.ask(_NOTE, {"id": order_id})
    held = await shop.ask(HOLD, {"id": order_id, "reason": _SUSPICION})
    await shop.ask(RELEASE, {"id": order_id, "hold": held["holdOrder"]["holds"][0]["id"]})
    await world.network.settle()
    shipment = (await shop.read(order_id))["shipments"][0]
    await shop.ask(BUY_LABEL, {"id": shipment["id"]})


_SUSPICION = "the name looks odd"
_SOCKS = {
    "id": "SOCKS",
    "productId": "SOCKS",
    "name": "Socks",
    "price": 8.0,
    "shippingPrice": 1.0,
    "currency": "USD",
    "weightGrams": 60,
}
_NOTE = 'mutation($id: ID!) { updateOrderNotes(id: $id, notes: "fragile") { id } }'
_PLACE_AS_GUEST = (
    "mutation($input: CreateOrderInput!) { createOrder(input: $input) { id orderNumber guestToken } }"
)


def _guests_order() -> Reading:
    contact = {"name": "Gus Guest", "email": "gus@example.com"}
    return {"items": [{"sku": MUG, "quantity": 2}], "shippingAddress": ADDRESS, "contact": contact}


async def _bearer(world: World, role: str, subject: str, **claims: Any) -> dict[str, str]:
    person = {"email": f"{subject}@example.com", "name": subject.title()}
    answer = await world.shop.sandbox(
        "POST", "/issuer/token", {"role": role, "sub": subject, **person, **claims}
    )
    return {"authorization": f"Bearer {answer['token']}"}


async def ask(world: World, headers: dict[str, str], query: str, variables: Reading) -> Reading:
    """The whole answer, errors and all, whatever its HTTP status."""
    sent = {**headers, "idempotency-key": str(uuid4())}
    body = {"query": query, "variables": variables}
    return await world.shop._post(f"{world.places.gateway}/graphql", body, sent)


async def lets_in(world: World, cast: Cast, operation: str, who: str) -> bool:
    """Whatever becomes of it: the caller was not turned away, and there was something to see or to do."""
    order = cast.order_of(who)
    query, variables = document(operation, OPERATIONS[operation], await given(world, order))
    answer = await ask(world, cast.headers[who], query, variables)
    codes = {error["extensions"]["code"] for error in answer.get("errors") or ()}
    assert "INTERNAL" not in codes, answer
    if codes & TURNED_AWAY:
        return False
    return bool(codes) or (answer["data"] or {}).get(operation.partition(" ")[2]) is not None


async def given(world: World, order: Reading) -> dict[str, Any]:
    """Values for required arguments, by the argument's name or its type's."""
    shipments = (await world.shop.read(order["id"]))["shipments"] or [{"id": str(uuid4())}]
    values: dict[str, Any] = {
        "id": order["id"],
        "ID": order["id"],
        "ids": [order["id"]],
        "orderNumber": order["orderNumber"],
        "shipmentId": shipments[0]["id"],
        "customerId": None,
        "OrderStatus": "DELIVERED",
        "CreateOrderInput": _guests_order(),
        "version": "an earlier one",
        "deadline": None,
        "DateRangeInput": {"start": "2026-11-01", "end": "2026-11-02"},
        "ItemQuantityInput": {"itemId": f"{order['id']}:1", "quantity": 1},
        "SaveDiscountCodeInput": {"code": "TEN", "kind": "PERCENT", "value": 10.0},
        "SaveSkuInput": _SOCKS,
        "Metadata": {"cart": "c-1"},
        "QuoteAddressInput": ADDRESS,
        "QuoteItemInput": {"sku": MUG, "quantity": 1},
        "String": "text",
        "Int": 1,
        "Float": 1.0,
        "Boolean": True,
    }
    return {name: value for name, value in values.items() if value is not None}


async def page(world: World, cast: Cast, who: str, order: Reading) -> Any:
    """The order with all its fields, as this one sees it; None if it does not see it."""
    fields = selection(OPERATIONS["query order"])
    query = f"query($id: ID!) {{ order(id: $id){fields} }}"
    answer = await ask(world, cast.headers[who], query, {"id": order["id"]})
    return (answer.get("data") or {}).get("order")
