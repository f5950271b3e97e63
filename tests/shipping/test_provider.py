"""Shippo's adapter against the sandbox, over HTTP: the async calls and the official SDK."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
import requests
from pydantic import SecretStr

import sandbox
from shared.contracts.orders import Address
from shipping.labels import Label, NotOffered, Rate, Refunded, Refused
from shipping.provider import Shippo, Unknown, label_of
from shipping.settings import Parcel, Settings
from support.shipments import ADDRESS, Faults, Shop

SENDER = Address(
    name="Shop", street="965 Mission St", city="San Francisco", state="CA", zip_code="94105", country="US"
)


def settings(url: str, key: str = "shippo_test_key", timeout: float = 20) -> Settings:
    return Settings(
        database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"),
        kafka_url="127.0.0.1:1",
        shippo_api_key=SecretStr(key),
        shippo_api_base=url,
        shippo_timeout=timeout,
    )


@pytest.fixture
async def shippo(box: sandbox.Box) -> AsyncIterator[Shippo]:
    account = Shippo(settings(f"{box.url}/shippo/"))
    yield account
    await account.close()


async def rate(
    shippo: Shippo, service: str | None = None, grams: int = 850, **destination: Any
) -> Rate | Refused | NotOffered:
    return await shippo.rate(
        sender=SENDER,
        destination=ADDRESS.model_copy(update={"name": "Ada"} | destination),
        parcel=Parcel(),
        grams=grams,
        service=service,
        metadata=f"ordermesh:{uuid4()}",
    )


async def a_rate(shippo: Shippo) -> Rate:
    found = await rate(shippo)
    assert isinstance(found, Rate)
    return found


async def a_label(shippo: Shippo) -> Label:
    bought = await shippo.buy((await a_rate(shippo)).rate_id, "ordermesh:test")
    assert isinstance(bought, Label)
    return bought


async def test_the_cheapest_rate_is_chosen_in_minor_units(shippo: Shippo) -> None:
    found = await a_rate(shippo)
    assert (found.carrier, found.service, found.cost, found.currency) == (
        "USPS",
        "Ground Advantage",
        609,
        "USD",
    )


@pytest.mark.parametrize("service", ["ups_ground", "UPS_GROUND", "Ground"])
async def test_a_service_is_asked_by_its_token_or_name(shippo: Shippo, service: str) -> None:
    found = await rate(shippo, service)
    assert isinstance(found, Rate)
    assert (found.carrier, found.service) == ("UPS", "Ground")


async def test_a_service_that_nobody_offers_is_refused_with_those_that_are(shippo: Shippo) -> None:
    refused = await rate(shippo, "zeppelin")
    assert isinstance(refused, NotOffered)
    assert "zeppelin" in refused.reason
    assert "usps_priority" in refused.reason


async def test_no_rates_are_refused_with_the_carriers_that_had_none(shippo: Shippo) -> None:
    assert await rate(shippo, zip_code="00000") == Refused("No carrier offers a rate (UPS, USPS)")


async def test_a_malformed_address_is_refused(shippo: Shippo) -> None:
    assert await rate(shippo, name="") == Refused("Shippo refused: address_to is missing or wrong")


async def test_a_label_is_bought_and_found_by_its_rate(shippo: Shippo) -> None:
    fixed = await a_rate(shippo)
    assert await shippo.find(fixed.rate_id) is None
    bought = await shippo.buy(fixed.rate_id, "ordermesh:test")
    assert isinstance(bought, Label)
    assert bought.rate_id == fixed.rate_id
    assert bought.tracking_number.startswith("92")
    assert await shippo.find(fixed.rate_id) == bought


async def test_of_two_labels_of_one_rate_the_older_is_kept(shippo: Shippo) -> None:
    first = await a_label(shippo)
    second = await shippo.buy(first.rate_id, "ordermesh:test")
    assert isinstance(second, Label)
    found = await shippo.find(first.rate_id)
    assert isinstance(found, Label)
    assert {found.transaction_id, *found.surplus} == {first.transaction_id, second.transaction_id}
    assert len(found.surplus) == 1


async def test_an_unknown_rate_is_refused(shippo: Shippo) -> None:
    assert isinstance(await shippo.buy("nothing", "ordermesh:test"), Refused)


async def test_the_official_sdk_gives_a_label_back_once(shippo: Shippo, box: sandbox.Box) -> None:
    label = await a_label(shippo)
    for _ in range(3):
        assert await shippo.refund(label.transaction_id) == Refunded()
    refunded = [effect.resource for effect in box.record.effects(kind="shippo.label.refunded")]
    assert refunded.count(label.transaction_id) == 1
    assert await shippo.find(label.rate_id) is None


async def test_a_label_that_was_scanned_is_not_taken_back(shippo: Shippo, shop: Shop) -> None:
    label = await a_label(shippo)
    await shop.scan("TRANSIT", transaction=label.transaction_id)
    assert isinstance(await shippo.refund(label.transaction_id), Refused)


async def test_a_parcel_is_followed_once(shippo: Shippo) -> None:
    for _ in range(2):
        assert await shippo.follow("UPS", f"1Z{uuid4().hex}", "ordermesh:test") is None
    assert isinstance(await shippo.follow("", "1Z7", "ordermesh:test"), Refused)


async def test_a_lost_answer_is_unknown_and_the_label_is_found(shippo: Shippo, faults: Faults) -> None:
    fixed = await a_rate(shippo)
    faults.lost["shippo.transactions.create"] = 1
    with pytest.raises(Unknown):
        await shippo.buy(fixed.rate_id, "ordermesh:test")
    assert isinstance(await shippo.find(fixed.rate_id), Label)


async def test_a_refund_whose_answer_is_lost_is_not_asked_for_again(
    shippo: Shippo, faults: Faults, box: sandbox.Box
) -> None:
    label = await a_label(shippo)
    faults.lost["shippo.refunds.create"] = 1
    with pytest.raises(requests.exceptions.ConnectionError):
        await shippo.refund(label.transaction_id)
    assert await shippo.refund(label.transaction_id) == Refunded()
    refunded = [effect.resource for effect in box.record.effects(kind="shippo.label.refunded")]
    assert refunded.count(label.transaction_id) == 1


async def test_a_wrong_key_decides_nothing(box: sandbox.Box) -> None:
    account = Shippo(settings(f"{box.url}/shippo", key=""))
    with pytest.raises(Unknown):
        await account.buy("r1", "ordermesh:test")
    await account.close()


async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with closing(writer):
        await reader.read()


async def test_the_sdk_does_not_wait_for_ever() -> None:
    silent = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    account = Shippo(settings(url, timeout=0.2))
    with pytest.raises(requests.exceptions.Timeout):
        await asyncio.to_thread(account._sdk.refunds.create, transaction="t1")
    await account.close()
    silent.close()


def transaction(transaction_id: str, status: str, **more: Any) -> dict[str, Any]:
    return {
        "object_id": transaction_id,
        "object_created": f"2026-11-22T09:30:0{transaction_id[-1]}Z",
        "status": status,
        "rate": {"object_id": "r1", "amount": "5.66"},
        "tracking_number": "9201",
        **more,
    }


def test_a_purchase_that_shippo_is_still_at_is_unknown() -> None:
    for status in ("QUEUED", "WAITING"):
        with pytest.raises(Unknown):
            label_of([transaction("t1", status)])


CANARY = "Canary Birdsong, 7 Cage Lane"


def test_a_failed_purchase_is_refused_with_shippos_codes_and_none_of_its_words() -> None:
    message = {"source": "UPS", "code": "111286", "text": f"{CANARY} is no address."}
    refused = label_of([transaction("t1", "ERROR", messages=[message, message])])
    assert refused == Refused("Shippo says ERROR (UPS 111286)")
    assert label_of([transaction("t1", "ERROR")]) == Refused("Shippo says ERROR")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            {"address_to": [{"name": [f"{CANARY} is too long"], "street1": [CANARY]}]},
            "Shippo refused: address_to.name, address_to.street1 are missing or wrong",
        ),
        ({"address_to": {CANARY: [CANARY]}}, "Shippo refused: address_to is missing or wrong"),
        ({"detail": CANARY, CANARY: [{"__all__": [CANARY]}]}, "Shippo refused with 400"),
        ([CANARY], "Shippo refused with 400"),
        (CANARY, "Shippo refused with 400"),
    ],
)
async def test_a_refusal_repeats_neither_values_nor_sentences(body: Any, reason: str) -> None:
    said = body if isinstance(body, str) else json.dumps(body)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]))
            writer.write(f"HTTP/1.1 400 No\r\nContent-Length: {len(said)}\r\n\r\n{said}".encode())
            await writer.drain()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        account = Shippo(settings(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        assert await rate(account, name=CANARY, street=CANARY) == Refused(reason)
        await account.close()


def test_the_purchase_that_worked_is_kept_and_the_others_are_surplus() -> None:
    found = label_of(
        [transaction("t3", "SUCCESS"), transaction("t1", "QUEUED"), transaction("t2", "SUCCESS")]
    )
    assert isinstance(found, Label)
    assert (found.transaction_id, found.rate_id, found.surplus) == ("t2", "r1", ("t1", "t3"))
