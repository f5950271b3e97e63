"""A shop seen from outside: what storefronts and staff send to the gateway, what shoppers send to Stripe, carriers to Shippo.

Everything goes over HTTP to real processes, with real tokens. Nothing here reads a service's database.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self
from uuid import uuid4

import orjson
from pyreqwest.client import Client, ClientBuilder

UNTIL_SECONDS = 60.0
POLL_SECONDS = 0.1
IDLE_SECONDS = 2
"""Less than the five after which uvicorn closes a connection: a request that is sent at that very moment would be lost."""

ORDER = """
    id orderNumber status paymentStatus total items { id productSku } holds { id releasedAt }
    timeline { at what toStatus actor why }
    payment { status capturedAmount refundedAmount paymentIntentId clientSecret }
    shipments { id status trackingNumber }
    notifications { channel template status }
"""
PLACE = f"mutation Place($input: CreateOrderInput!) {{ createOrder(input: $input) {{ {ORDER} }} }}"
CHECKOUT = """mutation Checkout($input: CreateOrderInput!) {
    createOrder(input: $input) { id orderNumber status total payment { clientSecret paymentIntentId } }
}"""
"""Placing as a storefront does it: what the browser needs to pay, and no more."""
READ = f"query Read($id: ID!) {{ order(id: $id) {{ {ORDER} }} }}"
CANCEL = f"mutation Cancel($id: ID!) {{ cancelOrder(id: $id) {{ {ORDER} }} }}"
REFUND = f"""mutation Refund($id: ID!, $amount: Float, $reason: String) {{
    refundOrder(id: $id, amount: $amount, reason: $reason) {{ {ORDER} }}
}}"""
BUY_LABEL = "mutation Label($id: ID!) { buyShippingLabel(shipmentId: $id) { id status trackingNumber } }"
SPLIT = """mutation Split($id: ID!, $lines: [ShipmentLineInput!]!) {
    splitShipment(shipmentId: $id, lines: $lines) { id status lines { line } }
}"""
CANCEL_ITEMS = """mutation CancelItems($id: ID!, $items: [ItemQuantityInput!]!) {
    cancelOrderItems(id: $id, items: $items, reason: "sold out") { id }
}"""
PREVIEW_EDIT = """query Preview($id: ID!, $input: OrderEditInput!) {
    previewOrderEdit(id: $id, input: $input) { refund version }
}"""
EDIT = """mutation Edit($id: ID!, $input: OrderEditInput!, $version: String!) {
    editOrder(id: $id, input: $input, version: $version) { id }
}"""
HOLD = "mutation Hold($id: ID!, $reason: String!) { holdOrder(id: $id, reason: $reason) { holds { id } } }"
RELEASE = "mutation Release($id: ID!, $hold: ID!) { releaseHold(id: $id, holdId: $hold) { id } }"
PLACE_AS_GUEST = """mutation Place($input: CreateOrderInput!) {
    createOrder(input: $input) { id guestToken discount total }
}"""
SAVE_CODE = """mutation Save($code: String!, $maxUses: Int) {
    saveDiscountCode(input: {code: $code, kind: PERCENT, value: 10, maxUses: $maxUses}) { code }
}"""
SAVE_SKU = "mutation Save($sku: SaveSkuInput!) { saveSku(input: $sku) { id price available } }"
PRICE = "query Price($input: CreateOrderInput!) { priceOrder(input: $input) { total } }"
QUOTES = """query Quotes($items: [QuoteItemInput!]!, $address: QuoteAddressInput!) {
    shippingQuotes(items: $items, address: $address) { amount service token }
}"""
TRACK = (
    "mutation Track($id: ID!, $number: String!) { addOrderTracking(id: $id, tracking: $number) { status } }"
)
UPDATE_STATUS = """mutation Status($id: ID!, $status: OrderStatus!) {
    updateOrderStatus(id: $id, input: {status: $status}) { status }
}"""
DISPATCH = "mutation Dispatch($id: ID!) { dispatchShipment(shipmentId: $id) { id status } }"

ADDRESS = {
    "street": "1 Market Street",
    "city": "San Francisco",
    "state": "CA",
    "zipCode": "94105",
    "country": "US",
}

Reading = dict[str, Any]


class Refused(Exception):
    """The gateway answered errors; `codes` are their `extensions.code`."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__("; ".join(str(error.get("message")) for error in errors))
        self.errors = errors
        self.codes = [error.get("extensions", {}).get("code") for error in errors]


class NotYet(TimeoutError):
    """What was waited for did not come; the message has the last reading."""


@dataclass(frozen=True)
class Places:
    """Where the shop's doors are."""

    gateway: str
    sandbox: str


class Shop:
    """The gateway and the sandbox, with a token for each person.

    `repeat`: send every mutation twice, under one key. `patience`: how long to wait for what must come, in seconds; `poll`: how
    long between two looks.
    """

    def __init__(
        self,
        places: Places,
        *,
        repeat: bool = False,
        patience: float = UNTIL_SECONDS,
        poll: float = POLL_SECONDS,
    ) -> None:
        self.places = places
        self.patience, self.poll = patience, poll
        self.repeat = repeat
        self._tokens: dict[tuple[str, str], str] = {}
        builder = ClientBuilder().timeout(timedelta(seconds=30))
        self._client: Client = builder.pool_idle_timeout(timedelta(seconds=IDLE_SECONDS)).build()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    # -- people

    async def token(self, role: str, subject: str) -> str:
        """A development token of the sandbox's issuer."""
        if (role, subject) not in self._tokens:
            person = {"email": f"{subject}@example.com", "name": subject.title()}
            answer = await self.sandbox("POST", "/issuer/token", {"role": role, "sub": subject, **person})
            self._tokens[role, subject] = answer["token"]
        return self._tokens[role, subject]

    async def ask(
        self,
        query: str,
        variables: Reading | None = None,
        *,
        role: str = "staff",
        subject: str = "sam",
        token: str | None = None,
    ) -> Reading:
        """The data of a GraphQL request, by who has that role, or this token; a blank one is nobody's. Raises Refused."""
        token = await self.token(role, subject) if token is None else token
        headers = {"authorization": f"Bearer {token}"} if token else {}
        if query.lstrip().startswith("mutation"):
            headers["idempotency-key"] = str(uuid4())
        body = {"query": query, "variables": variables or {}}
        if self.repeat and "idempotency-key" in headers:
            await self._post(f"{self.places.gateway}/graphql", body, headers)
        answer = await self._post(f"{self.places.gateway}/graphql", body, headers)
        if answer.get("errors"):
            raise Refused(answer["errors"])
        data: Reading = answer["data"]
        return data

    async def sandbox(self, method: str, path: str, body: Reading | None = None) -> Reading:
        """What no storefront does: play the browser at Stripe, the carrier at Shippo; read the providers' record."""
        request = self._client.request(method, f"{self.places.sandbox}{path}")
        response = await (request.body_json(body) if body is not None else request).build().send()
        answer: Reading = orjson.loads(bytes(await response.bytes()))
        return answer

    # -- what they do

    async def until_listed(self, skus: set[str]) -> None:
        """Until the catalogue has reached all who read it: an order and a quote for it are no longer refused as unknown.

        Raises NotYet.
        """
        items = [{"sku": sku, "quantity": 1} for sku in skus]
        async for _ in self.looks():
            try:
                await self.ask(PRICE, {"input": {"items": items, "shippingAddress": ADDRESS}})
                await self.ask(QUOTES, {"items": items, "address": ADDRESS})
            except Refused as refused:
                if refused.codes != ["SKU_NOT_FOUND"]:
                    raise
            else:
                return
        raise NotYet(f"the catalogue does not list {skus}")

    async def place(
        self,
        shopper: str,
        items: dict[str, int],
        *,
        phone: str | None = None,
        document: str = PLACE,
        **more: Any,
    ) -> Reading:
        """The order, ready to be paid: as `document` selects it, or read again where its payment took long.

        `more` goes into the input as it is. Raises Refused, NotYet.
        """
        wanted = {
            "items": [{"sku": sku, "quantity": quantity} for sku, quantity in items.items()],
            "shippingAddress": ADDRESS,
            "contact": {"phone": phone},
            **more,
        }
        data = await self.ask(document, {"input": wanted}, role="shopper", subject=shopper)
        order: Reading = data["createOrder"]
        return order if _payable(order) else await self.until(order["id"], _payable, shopper=shopper)

    async def pay(self, order: Reading, card: str = "pm_card_visa") -> None:
        """What a browser does with the client secret and Stripe.js; a declined card is an answer, not an error."""
        intent = order["payment"]["paymentIntentId"]
        await self.sandbox(
            "POST", f"/control/stripe/payment_intents/{intent}/confirm", {"payment_method": card}
        )

    async def carrier_says(self, tracking_number: str, status: str) -> None:
        await self.sandbox(
            "POST", "/control/shippo/track", {"tracking_number": tracking_number, "status": status}
        )

    async def read(self, order_id: str, *, role: str = "staff", subject: str = "sam") -> Reading:
        """The order with everything the four services know of it. Raises Refused."""
        data = await self.ask(READ, {"id": order_id}, role=role, subject=subject)
        order: Reading = data["order"]
        return order

    async def until(
        self, order_id: str, ready: Callable[[Reading], bool], *, shopper: str | None = None
    ) -> Reading:
        """Read again until `ready`. Raises NotYet."""
        role, subject = ("shopper", shopper) if shopper else ("staff", "sam")
        order: Reading = {}
        async for _ in self.looks():
            order = await self.read(order_id, role=role, subject=subject)
            if order and ready(order):
                return order
        raise NotYet(f"order {order_id}: {order}")

    async def looks(self) -> AsyncIterator[None]:
        """One after the other, as long as patience lasts."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience
        while loop.time() < deadline:
            yield
            await asyncio.sleep(self.poll)

    async def _post(self, url: str, body: Reading, headers: dict[str, str]) -> Reading:
        response = await self._client.post(url).headers(headers).body_json(body).build().send()
        answer: Reading = orjson.loads(bytes(await response.bytes()))
        return answer


def _payable(order: Reading) -> bool:
    return bool(order["payment"] and order["payment"]["clientSecret"])


def is_status(status: str) -> Callable[[Reading], bool]:
    return lambda order: bool(order["status"] == status)


def has_shipment(status: str) -> Callable[[Reading], bool]:
    return lambda order: any(shipment["status"] == status for shipment in order["shipments"] or ())


def is_refunded(order: Reading) -> bool:
    """Every captured cent went back, and both services say so."""
    payment = order["payment"]
    all_back = payment["capturedAmount"] == payment["refundedAmount"] > 0
    return bool(all_back and order["paymentStatus"] == "REFUNDED")
