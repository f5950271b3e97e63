"""Shipping through the official SDK: rates, labels, label refunds, tracking."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import requests
import shippo
from pyreqwest.client import Client
from shippo.models import components, errors, operations

import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.conftest import Receiver

SENDER = {
    "name": "Shop",
    "street1": "965 Mission St",
    "city": "San Francisco",
    "state": "CA",
    "zip": "94105",
    "country": "US",
}
SHOPPER = {
    "name": "Ada Lovelace",
    "street1": "1 Main St (rear)",
    "city": "Chicago",
    "state": "IL",
    "zip": "60601",
    "country": "US",
}
PARCEL = {
    "length": "10",
    "width": "8",
    "height": "4",
    "distance_unit": "in",
    "weight": "2",
    "mass_unit": "lb",
}


@pytest.fixture
def carrier(box: sandbox.Box) -> Iterator[shippo.Shippo]:
    with requests.Session() as session:
        session.trust_env = False
        yield shippo.Shippo(api_key_header="shippo_test_key", server_url=f"{box.url}/shippo", client=session)


async def ship(carrier: shippo.Shippo, metadata: str, **destination: str) -> components.Shipment:
    request = components.ShipmentCreateRequest(
        address_from=components.AddressCreateRequest(**SENDER),
        address_to=components.AddressCreateRequest(**(SHOPPER | destination)),
        parcels=[components.ParcelCreateRequest(**PARCEL)],
        metadata=metadata,
    )
    return await asyncio.to_thread(carrier.shipments.create, request)


async def buy(carrier: shippo.Shippo, rate: components.Rate, metadata: str = "") -> components.Transaction:
    request = components.TransactionCreateRequest(rate=rate.object_id, metadata=metadata, async_=False)
    return await asyncio.to_thread(carrier.transactions.create, request)


async def track(box: sandbox.Box, http: Client, **params: str) -> Any:
    answer = await http.post(f"{box.url}/control/shippo/track").body_json(params).build().send()
    assert answer.status == 200
    return await answer.json()


async def test_a_shipment_is_answered_with_rates_of_several_carriers(
    carrier: shippo.Shippo, order_id: str
) -> None:
    shipment = await ship(carrier, f"order_id={order_id}")
    assert shipment.status == components.ShipmentStatus.SUCCESS
    assert {rate.provider for rate in shipment.rates} == {"USPS", "UPS"}
    ground = next(rate for rate in shipment.rates if rate.servicelevel.token == "usps_ground_advantage")
    assert (ground.amount, ground.currency, ground.estimated_days) == ("6.15", "USD", 4)
    assert components.Attributes.CHEAPEST in ground.attributes
    prices = [float(rate.amount) for rate in shipment.rates]
    assert prices == sorted(prices)

    again = await asyncio.to_thread(carrier.shipments.get, shipment.object_id)
    assert again == shipment
    assert (await asyncio.to_thread(carrier.rates.get, ground.object_id)) == ground
    abroad = await ship(carrier, "", country="FR", zip="75001")
    assert [rate.servicelevel.token for rate in abroad.rates] == [
        "usps_priority_mail_international",
        "ups_saver",
    ]


async def test_an_address_that_no_carrier_serves_has_no_rates(carrier: shippo.Shippo) -> None:
    shipment = await ship(carrier, "", zip="00000")
    assert shipment.rates == []
    assert [message.source for message in shipment.messages] == ["USPS", "UPS"]


async def test_a_bought_label_is_a_pdf_and_is_found_by_its_rate(
    box: sandbox.Box, receiver: Receiver, carrier: shippo.Shippo, http: Client, order_id: str
) -> None:
    shipment = await ship(carrier, f"order_id={order_id}")
    label = await buy(carrier, shipment.rates[0], "oms:1")
    assert label.status == components.TransactionStatusEnum.SUCCESS
    assert (label.rate, label.metadata) == (shipment.rates[0].object_id, "oms:1")
    assert label.tracking_url_provider is not None
    assert label.tracking_number is not None
    assert label.tracking_url_provider.endswith(label.tracking_number)
    assert label.label_url is not None

    pdf = await http.get(label.label_url).build().send()
    assert (pdf.status, pdf.get_header("content-type")) == (200, "application/pdf")
    content = bytes(await pdf.bytes())
    assert content.startswith(b"%PDF-")
    for text in (label.tracking_number, "Ada Lovelace", r"1 Main St \(rear\)", "Chicago IL 60601"):
        assert f"({text}" in content.decode("cp1252") or f"{text})" in content.decode("cp1252")

    found = await asyncio.to_thread(
        carrier.transactions.list, operations.ListTransactionsRequest(rate=shipment.rates[0].object_id)
    )
    assert [transaction.object_id for transaction in found.results or []] == [label.object_id]
    assert await asyncio.to_thread(carrier.transactions.get, str(label.object_id)) == label
    await box.settled()
    (created,) = [d.json for d in receiver.deliveries if d.json["event"] == "transaction_created"]
    assert created["data"]["object_id"] == label.object_id
    (effect,) = box.record.effects(order_id=order_id, kind="shippo.label.purchased")
    assert (effect.amount, effect.currency, effect.resource) == (615, "USD", label.object_id)


async def test_buying_twice_with_one_rate_is_two_labels(
    box: sandbox.Box, carrier: shippo.Shippo, order_id: str
) -> None:
    shipment = await ship(carrier, f"order_id={order_id}")
    rate = shipment.rates[0]
    first, second = await buy(carrier, rate), await buy(carrier, rate)
    assert first.object_id != second.object_id
    assert first.tracking_number != second.tracking_number
    found = await asyncio.to_thread(
        carrier.transactions.list, operations.ListTransactionsRequest(rate=rate.object_id)
    )
    assert [label.object_id for label in found.results or []] == [second.object_id, first.object_id]
    assert len(box.record.effects(order_id=order_id, kind="shippo.label.purchased")) == 2


async def test_an_unused_label_is_refunded_once(
    box: sandbox.Box, carrier: shippo.Shippo, order_id: str
) -> None:
    label = await buy(carrier, (await ship(carrier, f"order_id={order_id}")).rates[0])
    refund = await asyncio.to_thread(carrier.refunds.create, str(label.object_id))
    assert (refund.status, refund.transaction) == (components.RefundStatus.SUCCESS, label.object_id)
    assert await asyncio.to_thread(carrier.refunds.get, str(refund.object_id)) == refund
    listed = await asyncio.to_thread(carrier.refunds.list)
    assert refund in (listed.results or [])
    with pytest.raises(errors.SDKError, match="400"):
        await asyncio.to_thread(carrier.refunds.create, str(label.object_id))
    assert (await asyncio.to_thread(carrier.transactions.get, str(label.object_id))).status == "REFUNDED"
    (effect,) = box.record.effects(order_id=order_id, kind="shippo.label.refunded")
    assert (effect.amount, effect.resource) == (615, label.object_id)


async def test_a_used_label_is_not_refunded(
    box: sandbox.Box, carrier: shippo.Shippo, http: Client, order_id: str
) -> None:
    label = await buy(carrier, (await ship(carrier, f"order_id={order_id}")).rates[0])
    await track(box, http, transaction=str(label.object_id), status="TRANSIT")
    refund = await asyncio.to_thread(carrier.refunds.create, str(label.object_id))
    assert refund.status == components.RefundStatus.ERROR
    assert not box.record.effects(order_id=order_id, kind="shippo.label.refunded")


async def test_a_parcel_is_followed_from_pre_transit_to_delivered(
    box: sandbox.Box, receiver: Receiver, carrier: shippo.Shippo, http: Client, order_id: str
) -> None:
    label = await buy(carrier, (await ship(carrier, f"order_id={order_id}")).rates[0])
    number = str(label.tracking_number)
    known = await asyncio.to_thread(carrier.tracking_status.get, number, "usps")
    assert (known.transaction, known.tracking_status, known.tracking_history) == (label.object_id, None, [])
    await box.settled()
    receiver.deliveries.clear()

    await track(box, http, transaction=str(label.object_id), status="PRE_TRANSIT")
    await track(box, http, tracking_number=number, status="TRANSIT")
    await track(box, http, tracking_number=number, status="DELIVERED")
    followed = await asyncio.to_thread(carrier.tracking_status.get, number, "usps")
    assert [scan.status for scan in followed.tracking_history] == ["PRE_TRANSIT", "TRANSIT", "DELIVERED"]
    assert followed.tracking_status == followed.tracking_history[-1]
    assert followed.address_to is not None
    assert followed.address_to.city == "Chicago"
    assert (
        await asyncio.to_thread(carrier.transactions.get, str(label.object_id))
    ).tracking_status == "DELIVERED"

    await box.settled()
    told = [delivery.json for delivery in receiver.deliveries]
    assert {update["event"] for update in told} == {"track_updated"}
    assert {update["data"]["tracking_status"]["status"] for update in told} == {
        "PRE_TRANSIT",
        "TRANSIT",
        "DELIVERED",
    }
    assert {update["data"]["transaction"] for update in told} == {label.object_id}
    assert len(box.record.effects(order_id=order_id, kind="shippo.track.updated")) == 3


async def test_a_parcel_with_another_label_can_be_registered_and_followed(
    box: sandbox.Box, carrier: shippo.Shippo, http: Client, order_id: str
) -> None:
    number = f"9{order_id}"
    unknown = await asyncio.to_thread(carrier.tracking_status.get, number, "fedex")
    assert unknown.tracking_status is None
    registered = await asyncio.to_thread(
        carrier.tracking_status.create, "fedex", number, f"order_id={order_id}"
    )
    assert (registered.carrier, registered.tracking_number) == ("fedex", number)
    await track(box, http, tracking_number=number, status="RETURNED")
    followed = await asyncio.to_thread(carrier.tracking_status.get, number, "fedex")
    assert followed.tracking_status is not None
    assert followed.tracking_status.status == "RETURNED"
    assert len(box.record.effects(order_id=order_id, kind="shippo.track.updated")) == 1


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("shipments", {"address_from": SENDER, "parcels": [PARCEL]}, "address_to"),
        ("shipments", {"address_from": SENDER, "address_to": SHOPPER, "parcels": []}, "parcels"),
        (
            "shipments",
            {"address_from": SENDER, "address_to": SHOPPER | {"zip": ""}, "parcels": [PARCEL]},
            "address_to",
        ),
        (
            "shipments",
            {"address_from": SENDER, "address_to": SHOPPER, "parcels": [PARCEL | {"weight": "x"}]},
            "parcels",
        ),
        (
            "shipments",
            {"address_from": SENDER, "address_to": SHOPPER, "parcels": [PARCEL], "metadata": "m" * 101},
            "metadata",
        ),
        (
            "shipments",
            {"address_from": SENDER, "address_to": SHOPPER, "parcels": [PARCEL | {"weight": "-1"}]},
            "parcels",
        ),
        ("transactions", {}, "rate"),
        ("transactions", {"rate": "unknown"}, "rate"),
        ("refunds", {"transaction": "unknown"}, "transaction"),
        ("tracks", {"carrier": "usps"}, "tracking_number"),
    ],
)
async def test_bad_requests_name_the_field(
    box: sandbox.Box, http: Client, path: str, body: dict[str, object], field: str
) -> None:
    before = box.record.counts()
    request = http.post(f"{box.url}/shippo/{path}").header("authorization", "ShippoToken shippo_test_key")
    answer = await request.body_json(body).build().send()
    assert answer.status == 400
    assert list(await answer.json()) == [field]
    assert box.record.counts() == before


async def test_a_token_is_required_and_unknown_objects_are_not_found(box: sandbox.Box, http: Client) -> None:
    assert (await http.get(f"{box.url}/shippo/transactions").build().send()).status == 401
    for path in ("shipments/x", "transactions/x", "refunds/x", "rates/x", "labels/x.pdf"):
        request = http.get(f"{box.url}/shippo/{path}").header("authorization", "ShippoToken shippo_test_key")
        assert (await request.build().send()).status == 404
    body = {"transaction": "x", "status": "TRANSIT"}
    assert (await http.post(f"{box.url}/control/shippo/track").body_json(body).build().send()).status == 404
    body = {"transaction": "x", "status": "LOST"}
    assert (await http.post(f"{box.url}/control/shippo/track").body_json(body).build().send()).status == 400
