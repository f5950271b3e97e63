"""Shippo: rates, labels, label refunds, parcels to follow. Answers what was decided; raises when that is not known.

Rates and labels go to Shippo's endpoints by async HTTP. The official SDK (sync, 27 ms of CPU a call, no timeout of its own)
serves the rare refund, in a thread, over a session that has timeouts. Source: docs.goshippo.com, API version 2018-02-08.

A refusal's reason travels far (Kafka, Slack, the shopper's screen), and Shippo's sentences may repeat a name or a street. So
it is put together from field names and codes alone; the sentences stay at Shippo.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from http import HTTPStatus
from typing import Any

import requests
import shippo
from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import PyreqwestError
from pyreqwest.request import RequestBuilder
from pyreqwest.response import Response
from requests.adapters import HTTPAdapter
from shippo.models.errors import SDKError

from shared.cancellation import heed_cancellation
from shared.contracts.money import exponent
from shared.contracts.orders import Address
from shipping.labels import Label, NotOffered, Rate, Refunded, Refused
from shipping.settings import Parcel, Settings

API_VERSION = "2018-02-08"
_UNDECIDED = frozenset({401, 403, 408, 409, 425, 429})
"""Refused without being judged (wrong key, too many calls): worth another attempt, like a 5xx."""
_LIVE = frozenset({"SUCCESS", "QUEUED", "WAITING"})
_GIVEN_BACK = frozenset({"REFUNDED", "REFUNDPENDING"})
_FIELDS = frozenset(
    {
        *(
            "address_from",
            "address_to",
            "name",
            "street1",
            "street2",
            "city",
            "state",
            "zip",
            "country",
            "phone",
        ),
        *(
            "parcels",
            "length",
            "width",
            "height",
            "distance_unit",
            "weight",
            "mass_unit",
            "metadata",
            "async",
        ),
        *("rate", "label_file_type", "carrier", "tracking_number"),
    }
)
"""What we send. No other key of a refusal is repeated."""
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_ .-]{0,59}")
_NAMED = 10

Json = dict[str, Any]


class Unknown(RuntimeError):
    """What became of the call is not known (yet): look it up before trying again."""


class Shippo:
    """One Shippo account. `close` it."""

    def __init__(self, settings: Settings) -> None:
        key, self._base = settings.shippo_api_key.get_secret_value(), settings.shippo_api_base.rstrip("/")
        self._client = (
            ClientBuilder()
            .timeout(timedelta(seconds=settings.shippo_timeout))
            .default_headers({"Authorization": f"ShippoToken {key}", "SHIPPO-API-VERSION": API_VERSION})
            .follow_redirects(enable=False)
            .build()
        )
        self._session = _session(settings.shippo_timeout)
        self._sdk = shippo.Shippo(
            api_key_header=f"ShippoToken {key}",
            shippo_api_version=API_VERSION,
            server_url=self._base,
            client=self._session,
        )
        self._sdk_lock = asyncio.Lock()

    async def close(self) -> None:
        await self._client.close()
        await asyncio.to_thread(self._session.close)

    async def rate(
        self,
        *,
        sender: Address,
        destination: Address,
        parcel: Parcel,
        grams: int,
        service: str | None,
        metadata: str,
    ) -> Rate | Refused | NotOffered:
        """The cheapest rate, of `service` (its name or Shippo's token) if one is asked. Asking costs nothing. Raises Unknown."""
        answer = await self._post("/shipments", _shipment(sender, destination, parcel, grams, metadata))
        if isinstance(answer, Refused):
            return answer
        return _choose(answer.get("rates") or [], service) or _no_rate(answer, service)

    async def rates(
        self, *, sender: Address, destination: Address, parcel: Parcel, grams: int
    ) -> Sequence[Rate] | Refused:
        """All there are, the cheapest first; none where no carrier goes. Raises Unknown."""
        answer = await self._post("/shipments", _shipment(sender, destination, parcel, grams, "quote"))
        if isinstance(answer, Refused):
            return answer
        return sorted(map(_rate, answer.get("rates") or []), key=lambda rate: (rate.cost, rate.rate_id))

    async def offered(self, rate_id: str, destination: Address, grams: int) -> Rate | None:
        """A rate that was quoted, if what it was quoted for weighs as much and goes to the very same person. Raises Unknown."""
        rate = await self._look(f"/rates/{rate_id}")
        shipment = await self._look(f"/shipments/{rate['shipment']}") if rate else None
        if rate is None or shipment is None or not _is_for(shipment, destination, grams):
            return None
        return _rate(rate)

    async def buy(self, rate_id: str, metadata: str) -> Label | Refused:
        """Every call buys. Raises Unknown, then `find` has to look before this is called again."""
        purchase = {"rate": rate_id, "metadata": metadata, "label_file_type": "PDF_4x6", "async": False}
        answer = await self._post("/transactions", purchase)
        return answer if isinstance(answer, Refused) else label_of([answer])

    async def find(self, rate_id: str) -> Label | Refused | None:
        """What became of earlier purchases of this rate; None: Shippo shows none. Raises Unknown."""
        found = await self._get("/transactions", {"rate": rate_id})
        bought = [t for t in found["results"] if rate_of(t) == rate_id and t["status"] not in _GIVEN_BACK]
        return label_of(bought) if bought else None

    async def refund(self, transaction_id: str) -> Refunded | Refused:
        """Safe to repeat: a label that is going back already is not asked for again. Raises Unknown, SDKError, OSError.

        Refunded is what Shippo has accepted; where a carrier objects weeks later, the transaction becomes REFUNDREJECTED.
        """
        transaction = await self._get(f"/transactions/{transaction_id}", {})
        if transaction["status"] in _GIVEN_BACK:
            return Refunded()
        try:
            async with self._sdk_lock:
                refund = await asyncio.to_thread(self._sdk.refunds.create, transaction=transaction_id)
        except SDKError as error:
            if error.status_code in _UNDECIDED or error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            return Refused(f"Shippo answered {error.status_code}")
        status = refund.status.value if refund.status else ""
        return Refused("Shippo does not take it back") if status == "ERROR" else Refunded()

    async def follow(self, carrier: str, tracking_number: str, metadata: str) -> Refused | None:
        """Have webhooks sent about a parcel whose label was bought elsewhere. Safe to repeat. Raises Unknown."""
        body = {"carrier": carrier.lower(), "tracking_number": tracking_number, "metadata": metadata}
        answer = await self._post("/tracks", body)
        return answer if isinstance(answer, Refused) else None

    async def _post(self, path: str, body: Json) -> Json | Refused:
        response = await _sent(self._client.post(self._base + path).body_json(body))
        if response.status in _UNDECIDED or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unknown(f"Shippo answered {response.status} to POST {path}")
        if response.status >= HTTPStatus.BAD_REQUEST:
            return Refused(_refusal(response.status, await response.text()))
        answer: Json = await response.json()
        return answer

    async def _get(self, path: str, query: Mapping[str, str]) -> Json:
        response = await _sent(self._client.get(self._base + path).query(query))
        if response.status != HTTPStatus.OK:
            raise Unknown(f"Shippo answered {response.status} to GET {path}")
        answer: Json = await response.json()
        return answer

    async def _look(self, path: str) -> Json | None:
        """None: Shippo knows none of that name."""
        response = await _sent(self._client.get(self._base + path))
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        if response.status != HTTPStatus.OK:
            raise Unknown(f"Shippo answered {response.status} to GET {path}")
        answer: Json = await response.json()
        return answer


async def _sent(request: RequestBuilder) -> Response:
    """The answer, read to its end. Raises Unknown for a lost connection or a time-out."""
    try:
        response = await request.build().send()
    except PyreqwestError as lost:
        raise Unknown(f"Shippo did not answer: {type(lost).__name__}") from lost
    heed_cancellation()
    return response


def label_of(transactions: Sequence[Json]) -> Label | Refused:
    """Purchases of one rate as the label to keep (the oldest) with the surplus, or why none was bought.

    Raises Unknown while Shippo is still at it.
    """
    live = sorted(
        (t for t in transactions if t["status"] in _LIVE), key=lambda t: (t["object_created"], t["object_id"])
    )
    if not live:
        return Refused(f"Shippo says {transactions[0]['status']}{_said(transactions[0])}")
    kept = next((t for t in live if t["status"] == "SUCCESS"), None)
    if kept is None:
        raise Unknown(f"transaction {live[0]['object_id']} is {live[0]['status']}")
    return Label(
        transaction_id=kept["object_id"],
        rate_id=rate_of(kept),
        tracking_number=kept["tracking_number"],
        tracking_url=kept.get("tracking_url_provider"),
        label_url=kept.get("label_url"),
        surplus=tuple(t["object_id"] for t in live if t is not kept),
    )


def rate_of(transaction: Json) -> str:
    """Shippo shows a transaction's rate as its id or whole."""
    rate = transaction["rate"]
    return str(rate["object_id"] if isinstance(rate, dict) else rate)


def _choose(rates: Sequence[Json], service: str | None) -> Rate | None:
    offered = [rate for rate in rates if service is None or service.casefold() in _names(rate)]
    if not offered:
        return None
    return _rate(min(offered, key=lambda rate: (Decimal(rate["amount"]), rate["object_id"])))


def _rate(shown: Json) -> Rate:
    return Rate(
        rate_id=shown["object_id"],
        carrier=shown["provider"],
        service=shown["servicelevel"]["name"],
        cost=_minor(shown["amount"], shown["currency"]),
        currency=shown["currency"],
        days=shown.get("estimated_days"),
        made_at=datetime.fromisoformat(shown["object_created"]),
        shipment_id=shown["shipment"],
    )


def _names(rate: Json) -> set[str]:
    level = rate["servicelevel"]
    return {str(level.get(name) or "").casefold() for name in ("token", "name")}


def _no_rate(shipment: Json, service: str | None) -> Refused | NotOffered:
    offered = ", ".join(rate["servicelevel"]["token"] for rate in shipment.get("rates") or ())
    if service is not None and offered:
        return NotOffered(f"No rate of service {service!r}; offered are {offered}")
    return Refused(f"No carrier offers a rate{_said(shipment)}")


def _said(answer: Json) -> str:
    """Who said something about it, and its code: ` (UPS 111286, USPS)`. What was said may repeat the address."""
    named = (
        " ".join(str(message.get(part) or "") for part in ("source", "code")).strip()
        for message in answer.get("messages") or ()
    )
    said = sorted({name for name in named if _CODE.fullmatch(name)})
    return f" ({', '.join(said[:_NAMED])})" if said else ""


def _refusal(status: int, body: str) -> str:
    """The fields that Shippo objects to, without their values and without its words."""
    try:
        wrong = list(dict.fromkeys(_wrong_fields(json.loads(body))))[:_NAMED]
    except ValueError:
        wrong = []
    if not wrong:
        return f"Shippo refused with {status}"
    return f"Shippo refused: {', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} missing or wrong"


def _wrong_fields(answer: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """`{"address_to": [{"name": ["..."]}]}` gives `address_to.name`."""
    match answer:
        case dict():
            for name, inner in answer.items():
                yield from _wrong_fields(inner, (*path, name) if name in _FIELDS else path)
        case list():
            for inner in answer:
                yield from _wrong_fields(inner, path)
        case _ if path:
            yield ".".join(path)


def _minor(amount: str, currency: str) -> int:
    return int(Decimal(amount).scaleb(exponent(currency)).to_integral_value(ROUND_HALF_UP))


def _address(address: Address) -> Json:
    return {
        "name": address.name,
        "street1": address.street,
        "street2": address.street2 or "",
        "city": address.city,
        "state": address.state,
        "zip": address.zip_code,
        "country": address.country,
        "phone": address.phone or "",
    }


def _shipment(sender: Address, destination: Address, parcel: Parcel, grams: int, metadata: str) -> Json:
    return {
        "address_from": _address(sender),
        "address_to": _address(destination),
        "parcels": [_parcel(parcel, grams)],
        "metadata": metadata,
        "async": False,
    }


def _is_for(shipment: Json, destination: Address, grams: int) -> bool:
    """Its label would name this person, and its price is for this weight. Shippo shows what it was given, perhaps in capitals."""
    shown, wanted = shipment["address_to"], _address(destination)
    same = all(
        str(shown.get(field) or "").strip().casefold() == wanted[field].strip().casefold() for field in wanted
    )
    weights = [(Decimal(parcel["weight"]), parcel["mass_unit"]) for parcel in shipment["parcels"]]
    return same and weights == [(Decimal(grams), "g")]


def _parcel(parcel: Parcel, grams: int) -> Json:
    sides = {side: str(getattr(parcel, side)) for side in ("length", "width", "height")}
    return {**sides, "distance_unit": "cm", "weight": str(grams), "mass_unit": "g"}


class _TimeoutAdapter(HTTPAdapter):
    """requests waits for ever unless each call says how long; the SDK's calls do not."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = self._seconds
        return super().send(request, *args, **kwargs)


def _session(seconds: float) -> requests.Session:
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _TimeoutAdapter(seconds))
    return session
