"""GET /exports/orders.csv as a spreadsheet gets it, from the service's own app on a real database."""

import asyncio
import csv
import io
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from orders.app import Orders
from orders.domain import Order
from orders.lists.export import COLUMNS, PATH, PER_PAGE, cell
from orders.settings import Settings
from orders.status import OrderStatus
from shared.auth import ANONYMOUS, Principal
from shared.errors import Code, Refusal
from support.listing import BOB, Shelf, newest, random_order
from support.orders import CUSTOMER, NOW, SHOPPER, STAFF, a_line, an_order

CALLERS = {None: ANONYMOUS, "staff": STAFF, "shopper": SHOPPER}


class Office:
    """The service as it is built, its database open; who calls is told by name. `sent` are the parts of the last answer."""

    def __init__(self, shelf: Shelf) -> None:
        settings = Settings(database_url=shelf.db.url, kafka_url="nowhere:9")
        self.shelf, self.service = shelf, Orders(settings)
        self.service.db = shelf.db
        self.service.started.set()
        self.service.authenticator.authenticate = self._authenticate  # type: ignore[method-assign]
        self.sent: list[bytes] = []
        self.between: Callable[[], Awaitable[object]] | None = None

    async def _authenticate(self, authorization: str | None) -> Principal:
        if authorization == "forged":
            raise Refusal(Code.UNAUTHENTICATED, "The token is invalid or has expired")
        return CALLERS[authorization]

    async def get(
        self, caller: str | None = "staff", **query: str | list[str]
    ) -> tuple[int, dict[str, str], str]:
        start: dict[str, Any] = {}
        self.sent = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            self.sent.append(message.get("body", b""))
            if self.between is not None:
                await self.between()

        async def receive() -> dict[str, Any]:
            return await asyncio.Event().wait()  # type: ignore[return-value] # nobody sends anything, or goes away

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": PATH,
            "raw_path": PATH.encode(),
            "root_path": "",
            "query_string": urlencode(query, doseq=True).encode(),
            "headers": [(b"authorization", caller.encode())] if caller else [],
        }
        await self.service(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, b"".join(self.sent).decode("utf-8", "strict")

    async def rows(self, **query: str) -> list[dict[str, str]]:
        status, headers, text = await self.get(**query)
        assert (status, headers["content-type"]) == (200, "text/csv; charset=utf-8")
        return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture
async def office(shelf: Shelf) -> AsyncIterator[Office]:
    made = Office(shelf)
    yield made
    await made.service.authenticator.close()


@pytest.fixture
async def bare(empty: Shelf) -> AsyncIterator[Office]:
    made = Office(empty)
    yield made
    await made.service.authenticator.close()


async def exported(office: Office, **query: str) -> list[str]:
    return [row["orderNumber"] for row in await office.rows(**query)]


@pytest.mark.parametrize(
    ("query", "keep"),
    [
        ({}, lambda o: True),
        ({"status": "DELIVERED"}, lambda o: o.status is OrderStatus.DELIVERED),
        (
            {"paymentStatus": "PAID", "orderType": "MIXED"},
            lambda o: (o.payment_status, o.order_type) == ("PAID", "MIXED"),
        ),
        ({"search": "ann lee"}, lambda o: o.customer_id == CUSTOMER),
        ({"customerId": str(BOB), "status": ""}, lambda o: o.customer_id == BOB),
        ({"attention": "ON_HOLD"}, lambda o: bool(o.open_holds)),
        ({"start": "2026-11-10", "end": "2026-11-15"}, lambda o: 10 <= o.created_at.day <= 15),
    ],
)
async def test_the_export_has_what_the_list_has(
    office: Office, query: dict[str, str], keep: Callable[[Order], bool]
) -> None:
    assert await exported(office, **query) == newest(filter(keep, office.shelf.orders))


async def test_a_row_has_the_orders_and_its_customers_data(bare: Office) -> None:
    await bare.shelf.know_customers()
    await bare.shelf.put(
        [an_order(a_line(1, 2, 1250), captured=3099, refunded=5, tracking="9400", currency="USD")]
    )
    [order] = bare.shelf.orders
    [row] = await bare.rows()
    assert tuple(row) == COLUMNS
    assert (
        row
        | {
            "orderNumber": order.order_number,
            "createdAt": "2026-11-22T09:30:00Z",
            "status": "PENDING",
            "customerName": "Ann Lee",
            "customerPhone": "+14155550123",
            "itemCount": "2",
            "items": "2 x SKU-1",
            "subtotal": "25.00",
            "shipping": "5.99",
            "total": "30.99",
            "captured": "30.99",
            "refunded": "0.05",
            "tracking": "9400",
            "shippedAt": "",
            "shipToCity": "San Francisco",
        }
        == row
    )


async def test_amounts_have_the_decimals_of_their_currency(bare: Office) -> None:
    totals = {"JPY": "12345", "USD": "123.45", "KWD": "12.345"}
    await bare.shelf.put(an_order(currency=currency, total=12345) for currency in totals)
    assert {row["currency"]: row["total"] for row in await bare.rows()} == totals


async def test_an_empty_export_has_its_header(bare: Office) -> None:
    assert (await bare.get())[2] == ",".join(COLUMNS) + "\r\n"


async def test_what_people_write_is_quoted_and_never_a_formula(bare: Office) -> None:
    """Through the file and back: as it was written, or with an apostrophe in front."""
    texts = {
        "=1+1": "'=1+1",
        "+cmd|' /C calc'!A0": "'+cmd|' /C calc'!A0",
        "-2+3": "'-2+3",
        "@SUM(A1)": "'@SUM(A1)",
        "\t=1": "'\t=1",
        " =1": "' =1",
        "\uff1d1": "'\uff1d1",
        'say "hi", Ann': 'say "hi", Ann',
        "two\r\nlines": "two\r\nlines",
        "Zoë 1-2": "Zoë 1-2",
        "+14155550123": "+14155550123",
        "+1 415": "'+1 415",
        "9400=": "9400=",
        "Ann;=1+1": "Ann;'=1+1",
        "Ann; @SUM(A1)|-1": "Ann;' @SUM(A1)|'-1",
    }
    await bare.shelf.put(an_order(discount_code=text) for text in texts)
    assert {row["discountCode"] for row in await bare.rows()} == set(texts.values())
    assert {text: cell(text) for text in texts} == texts
    text = (await bare.get())[2]
    assert text.count("\r\n") == len(texts) + 2
    assert '"say ""hi"", Ann"' in text


async def test_a_long_export_is_streamed_and_has_each_order_once_while_others_are_placed(
    bare: Office,
) -> None:
    chance = random.Random(4)
    await bare.shelf.put(random_order(chance, number) for number in range(PER_PAGE * 2 + 7))
    before = newest(bare.shelf.orders)

    async def placed() -> None:
        await bare.shelf.put([an_order(created_at=NOW.replace(hour=23))])

    bare.between = placed
    assert await exported(bare) == before
    assert len([part for part in bare.sent if part]) == 3
    assert len(bare.shelf.orders) > len(before)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"status": "GONE"}, "status is one of PENDING, PROCESSING"),
        ({"state": "PENDING"}, "There is no state"),
        ({"start": "2026-01-01"}, "start and end come together"),
        ({"search": "a"}, "search takes 2 characters at least"),
        ({"customerId": "ann"}, "customerId is a UUID"),
        ({"attention": "held"}, "attention is one of ON_HOLD, REFUND_FAILED"),
        ({"status": ["PENDING", "SHIPPED"]}, "Each parameter is given once"),
    ],
)
async def test_an_export_that_makes_no_sense_is_refused(
    office: Office, query: dict[str, Any], said: str
) -> None:
    status, headers, text = await office.get(**query)
    assert (status, headers["content-type"]) == (400, "application/json")
    [error] = orjson.loads(text)["errors"]
    assert error["extensions"]["code"] == Code.BAD_INPUT
    assert error["message"].startswith(said)


async def test_the_export_is_for_staff(office: Office) -> None:
    for caller, status, code in (
        (None, 401, Code.UNAUTHENTICATED),
        ("forged", 401, Code.UNAUTHENTICATED),
        ("shopper", 403, Code.FORBIDDEN),
    ):
        answered, _, text = await office.get(caller)
        assert (answered, orjson.loads(text)["errors"][0]["extensions"]["code"]) == (status, code)


async def test_without_a_database_the_export_is_unavailable(bare: Office) -> None:
    await bare.shelf.db.close()
    status, _, text = await bare.get()
    assert (status, orjson.loads(text)["errors"][0]["extensions"]["code"]) == (503, Code.SERVICE_UNAVAILABLE)
