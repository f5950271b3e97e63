"""The shipping subgraph: an order's shipments for those who may see the order, what staff does with them, and quotes for everybody."""

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import strawberry
from strawberry.utils.str_converters import to_camel_case

from shared import commands
from shared.auth import Scope
from shared.contracts.orders import STATE_NEEDED, Address
from shared.errors import Code, Refusal
from shared.graphql import Info
from shared.texts import checked
from shared.tx import Tx
from shipping import changes, domain, labels, store
from shipping.domain import UNDER_WAY, Consignment, Decision, LabelStage, LineQuantity, ShipmentStatus
from shipping.graph import Order, Shipment, ShippingQuote
from shipping.quotes import Quote
from shipping.store import CONSIGNMENTS, SHIPMENTS

_MAX_TEXT = 100
_MAX_LINES = 100
_MAX_QUANTITY, _MAX_QUOTES, _MAX_ADDRESS = 10_000, 50, 200
_COUNTRY = re.compile(r"[A-Z]{2}")
_TRACKING_NUMBER = re.compile(r"[!-~]{1,64}")
Question = tuple[Address, tuple[tuple[str, int], ...]]
"""Where to, and how many of which SKU."""
Decide = Callable[[Consignment, domain.Shipment, Tx], Decision]


@strawberry.input(description="How many pieces of an order's line.")
class ShipmentLineInput:
    line: int
    quantity: int


@strawberry.input
class QuoteItemInput:
    sku: str
    quantity: int


@strawberry.input(
    description="With the name and the phone number of the order to come, its label can be bought at this very rate."
)
class QuoteAddressInput:
    street: str
    city: str
    state: str
    zip_code: str
    country: str
    street2: str | None
    name: str | None
    phone: str | None


@strawberry.type
class Query:
    @strawberry.field(
        description="What carriers ask for these items to this address, the cheapest first; for everybody."
    )
    async def shipping_quotes(
        self,
        info: Info,
        items: list[QuoteItemInput],
        address: QuoteAddressInput,
        limit: int | None = strawberry.UNSET,
    ) -> list[ShippingQuote]:
        pieces, destination = _ordered(items), _destination(address)
        most = _MAX_QUOTES if limit is None or limit is strawberry.UNSET else limit
        if not 1 <= most <= _MAX_QUOTES:
            raise Refusal(Code.BAD_INPUT, f"limit is 1 to {_MAX_QUOTES}", argument="limit")
        question = (destination, tuple(sorted(pieces.items())))
        found = await info.context.loader("quotes", partial(_ask, info.context.service)).load(question)
        return [ShippingQuote.of(quote) for quote in found[:most]]


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description="Buy a label of `service` (name or Shippo's token), else of the one that the shopper chose, else the cheapest. Asking again never buys twice. Staff (fulfilment)."
    )
    async def buy_shipping_label(
        self, info: Info, shipment_id: strawberry.ID, service: str | None = None
    ) -> Shipment:
        wanted = _text("service", service)

        def decide(consignment: Consignment, shipment: domain.Shipment, _: Tx) -> Decision:
            return domain.unless_held(consignment, shipment, labels.ask(shipment, wanted))

        arguments = {"shipmentId": shipment_id, "service": wanted}
        found = await _change(info, "buyShippingLabel", shipment_id, arguments, decide)
        if found.status is ShipmentStatus.PREPARED and found.failure_reason:
            raise Refusal(Code.BAD_INPUT, found.failure_reason, argument="service")
        return found

    @strawberry.mutation(
        description="The courier has it: by our label, or by the tracking number of a label bought elsewhere. Staff (fulfilment)."
    )
    async def dispatch_shipment(
        self,
        info: Info,
        shipment_id: strawberry.ID,
        tracking_number: str | None = None,
        carrier: str | None = None,
    ) -> Shipment:
        number, courier = _text("trackingNumber", tracking_number), _text("carrier", carrier)
        number = "".join(number.split()).upper() if number else None
        if number and not _TRACKING_NUMBER.fullmatch(number):
            raise Refusal(
                Code.BAD_INPUT, "trackingNumber has 1 to 64 ASCII characters", argument="trackingNumber"
            )

        def decide(consignment: Consignment, shipment: domain.Shipment, tx: Tx) -> Decision:
            decision = domain.dispatch(shipment, courier, number, tx.now)
            return domain.unless_held(consignment, shipment, decision)

        arguments = {"shipmentId": shipment_id, "trackingNumber": number, "carrier": courier}
        return await _change(info, "dispatchShipment", shipment_id, arguments, decide)

    @strawberry.mutation(
        description="Give the label back; the shipment is void, and another is prepared for an order that goes on. Staff (fulfilment)."
    )
    async def void_shipping_label(self, info: Info, shipment_id: strawberry.ID) -> Shipment:
        def decide(_: Consignment, shipment: domain.Shipment, __: Tx) -> Decision:
            return domain.ask_to_void(shipment)

        return await _change(info, "voidShippingLabel", shipment_id, {"shipmentId": shipment_id}, decide)

    @strawberry.mutation(
        description="Two parcels of one that has no label: `lines`, and the rest. Answers all of the order's shipments. Staff (fulfilment)."
    )
    async def split_shipment(
        self, info: Info, shipment_id: strawberry.ID, lines: list[ShipmentLineInput]
    ) -> list[Shipment]:
        pieces = _pieces(lines)

        def decide(consignment: Consignment, shipment: domain.Shipment, tx: Tx) -> Iterable[Decision]:
            return changes.split(consignment, shipment, pieces, tx.new_id, tx.now)

        arguments = {"shipmentId": shipment_id, "lines": [[line.line, line.quantity] for line in lines]}
        _, order_id = await _commit(info, "splitShipment", shipment_id, arguments, decide)
        caller = info.context.principal
        [found] = await store.find_of_orders(info.context.service.db, caller, [UUID(order_id)])
        return [Shipment.of(shipment, caller) for shipment in found or ()]


async def _change(
    info: Info, field: str, shipment_id: str, arguments: dict[str, Any], decide: Decide
) -> Shipment:
    """Commit the wish, wait a bounded time for the provider's part of it, answer what is there then."""
    service, caller = info.context.service, info.context.principal
    key, order_id = await _commit(info, field, shipment_id, arguments, lambda *given: (decide(*given),))

    async def read() -> domain.Shipment:
        return await _find(info, key)

    done = await service.waits.until(order_id, read, _is_settled, service.settings.outcome_wait)
    return Shipment.of(done, caller)


async def _commit(
    info: Info,
    field: str,
    shipment_id: str,
    arguments: dict[str, Any],
    decide: Callable[[Consignment, domain.Shipment, Tx], Iterable[Decision]],
) -> tuple[UUID, str]:
    """The shipment's id and its order's, once what was decided is written down. Raises Refusal."""
    context = info.context
    context.principal.require_staff(Scope.FULFILMENT)
    service, key = context.service, commands.uuid_or(shipment_id, _unknown())
    order_id = str((await _find(info, key)).order_id)

    async def command(tx: Tx) -> str:
        for decision in decide(tx.get(CONSIGNMENTS, order_id), tx.get(SHIPMENTS, key), tx):
            store.apply(tx, decision)
        return str(key)

    await commands.execute(
        service.db,
        service.name,
        command,
        (CONSIGNMENTS, [order_id]),
        (SHIPMENTS, [order_id]),
        correlation_id=context.correlation_id,
        once=context.once(field, arguments),
    )
    return key, order_id


async def _find(info: Info, key: UUID) -> domain.Shipment:
    """As it is now. Raises Refusal SHIPMENT_NOT_FOUND."""
    [found] = await store.find_shipments(info.context.service.db, info.context.principal, [key])
    if found is None:
        raise _unknown()
    return found


def _unknown() -> Refusal:
    return Refusal(Code.SHIPMENT_NOT_FOUND, "No such shipment")


def _pieces(lines: Sequence[ShipmentLineInput]) -> list[LineQuantity]:
    """Raises Refusal BAD_INPUT."""
    if len(lines) > _MAX_LINES or any(line.quantity < 1 for line in lines):
        raise Refusal(
            Code.BAD_INPUT, f"lines has {_MAX_LINES} entries at most, of 1 piece at least", argument="lines"
        )
    return [LineQuantity(line.line, line.quantity) for line in lines]


def _is_settled(shipment: domain.Shipment) -> bool:
    return shipment.label not in UNDER_WAY and shipment.label is not LabelStage.REFUNDING


def _text(name: str, value: str | None) -> str | None:
    """An optional argument, trimmed. Raises Refusal BAD_INPUT."""
    if value is None:
        return None
    text = checked(name, value, _MAX_TEXT).strip()
    if not text:
        raise Refusal(Code.BAD_INPUT, f"{name} is empty", argument=name)
    return text


async def _ask(service: Any, questions: list[Question]) -> list[Sequence[Quote]]:
    """A request is one call to Shippo, however often its document asks the question. Raises Refusal."""
    if len(questions) > 1:
        raise Refusal(Code.BAD_INPUT, "A request asks for the quotes of one parcel")
    [(destination, items)] = questions
    pieces = Counter(dict(items))
    weights = await store.weights_of(service.db, list(pieces))
    if unknown := [sku for sku in pieces if sku not in weights]:
        raise Refusal(Code.SKU_NOT_FOUND, f"The catalogue does not list {unknown[0]}", sku=unknown[0])
    grams = sum(weights[sku] * quantity for sku, quantity in pieces.items())
    return [await service.quotes.ask(pieces, destination, max(1, grams))]


def _ordered(items: Sequence[QuoteItemInput]) -> Counter[str]:
    """Pieces by SKU. Raises Refusal BAD_INPUT."""
    if not 1 <= len(items) <= _MAX_LINES:
        raise Refusal(Code.BAD_INPUT, f"items has 1 to {_MAX_LINES} entries", argument="items")
    pieces: Counter[str] = Counter()
    for item in items:
        if not 1 <= item.quantity <= _MAX_QUANTITY:
            raise Refusal(Code.BAD_INPUT, f"quantity is 1 to {_MAX_QUANTITY}", argument="quantity")
        pieces[checked("sku", item.sku, _MAX_TEXT)] += item.quantity
    return pieces


def _destination(given: QuoteAddressInput) -> Address:
    """Raises Refusal BAD_INPUT."""
    fields = {field.name: getattr(given, field.name) or "" for field in dataclasses.fields(given)}
    texts = {
        name: checked(to_camel_case(name), value, _MAX_ADDRESS).strip() for name, value in fields.items()
    }
    texts["country"] = texts["country"].upper()
    for name in ("street", "city", "state", "zip_code", "country"):
        may_lack = name == "state" and texts["country"] not in STATE_NEEDED
        if not may_lack and not texts[name]:
            raise Refusal(Code.BAD_INPUT, f"The address needs its {to_camel_case(name)}", argument="address")
    if not _COUNTRY.fullmatch(texts["country"]):
        raise Refusal(Code.BAD_INPUT, "country is an ISO 3166-1 alpha-2 code, such as US", argument="address")
    return Address(**texts)


schema = strawberry.federation.Schema(query=Query, mutation=Mutation, types=[Order, Shipment])
