"""Lists at the endpoint, on a real database: which orders, in what order, on which page, for whom."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import orjson
import pytest

from orders.domain import Order, OrderType, PaymentStatus
from orders.lists.filters import Span, Wanted
from orders.status import OrderStatus
from shared.auth import ANONYMOUS, Principal, Role
from shared.errors import Code
from support.listing import BOB, CAROL, SHIPPED, Shelf, newest, numbers
from support.orders import CUSTOMER, NOW, OTHER, SHOPPER, STAFF, an_order

PAGE_INFO = "pageInfo { page limit total pages totalIsExact hasNext hasPrev endCursor }"
ORDERS = f"""query($filter: OrderFilterInput, $sort: SortInput, $page: Int, $limit: Int, $after: String) {{
    orders(filter: $filter, sort: $sort, page: $page, limit: $limit, after: $after) {{ nodes {{ orderNumber }} {PAGE_INFO} }} }}"""
NODES = """query($filter: OrderFilterInput, $sort: SortInput, $page: Int, $limit: Int, $after: String) {
    orders(filter: $filter, sort: $sort, page: $page, limit: $limit, after: $after) {
        nodes { orderNumber } pageInfo { hasNext endCursor } } }"""
SHIPPED_ORDERS = """query($filter: ShippedOrderFilterInput, $sort: SortInput, $page: Int) {
    shippedOrders(filter: $filter, sort: $sort, page: $page, limit: 100) {
        nodes { orderNumber } pageInfo { total totalIsExact hasNext } } }"""
PARTNER = Principal(Role.PARTNER, "test|acme", "test", "acme", partner_id="acme")
GUEST = Principal(Role.GUEST, "orders|g", "orders", "g", order_id=an_order().id)

Keep = Callable[[Order], bool]
DAY = NOW - timedelta(days=4)
FILTERS: dict[str, tuple[dict[str, Any], Keep]] = {
    "status": ({"status": "DELIVERED"}, lambda o: o.status is OrderStatus.DELIVERED),
    "payment status": ({"paymentStatus": "PAID"}, lambda o: o.payment_status is PaymentStatus.PAID),
    "type": ({"orderType": "MIXED"}, lambda o: o.order_type is OrderType.MIXED),
    "customer": ({"customerId": str(CUSTOMER)}, lambda o: o.customer_id == CUSTOMER),
    "days": (
        {"dateRange": {"start": f"{DAY - timedelta(days=5):%Y-%m-%d}", "end": f"{DAY:%Y-%m-%d}"}},
        lambda o: (DAY - timedelta(days=5)).date() <= o.created_at.date() <= DAY.date(),
    ),
    "search": ({"search": "o'neill"}, lambda o: o.customer_id == BOB),
}
WAITING: dict[str, Keep] = {
    "ON_HOLD": lambda o: bool(o.open_holds),
    "REFUND_FAILED": lambda o: o.refund_failed,
}
SORTS: dict[str, Callable[[Order], Any]] = {
    "createdAt": lambda o: (o.created_at, o.id),
    "total": lambda o: (o.total, o.id),
}
COMBINED = [names for size in range(len(FILTERS) + 1) for names in combinations(FILTERS, size)]


def expected(shelf: Shelf, *keep: Keep) -> list[Order]:
    return [order for order in shelf.orders if all(rule(order) for rule in keep)]


async def walked(shelf: Shelf, document: str = NODES, field: str = "orders", **given: Any) -> list[str]:
    """All pages, one behind the other's cursor."""
    found: list[str] = []
    after = None
    while True:
        page = (await shelf.ask(document, **given, after=after))[field]
        found += numbers(page["nodes"])
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNext"]:
            return found


async def is_listed_in_every_sort_both_ways(shelf: Shelf, given: dict[str, Any], *rules: Keep) -> None:
    """By cursor and by page; what is counted is what is there."""
    wanted = expected(shelf, *rules)
    for field, key in SORTS.items():
        if field == "total" and "search" in given:
            continue
        for direction in ("ASC", "DESC"):
            right = numbers(sorted(wanted, key=key, reverse=direction == "DESC"))
            sort = {"field": field, "direction": direction}
            assert await walked(shelf, filter=given, sort=sort, limit=70) == right
            second = (await shelf.ask(ORDERS, filter=given, sort=sort, page=2, limit=7))["orders"]
            assert numbers(second["nodes"]) == right[7:14]
            info = second["pageInfo"]
            assert (info["total"], info["totalIsExact"], info["hasPrev"]) == (len(right), True, True)
            assert info["hasNext"] == (len(right) > 14)
            assert info["pages"] == -(-len(right) // 7)


@pytest.mark.parametrize("names", COMBINED, ids=" and ".join)
async def test_every_filter_alone_and_with_every_other(shelf: Shelf, names: tuple[str, ...]) -> None:
    given: dict[str, Any] = {}
    for name in names:
        given |= FILTERS[name][0]
    await is_listed_in_every_sort_both_ways(shelf, given, *(FILTERS[name][1] for name in names))


@pytest.mark.parametrize("attention", WAITING)
@pytest.mark.parametrize("beside", [None, *FILTERS])
async def test_what_waits_for_staff_with_every_filter(
    shelf: Shelf, beside: str | None, attention: str
) -> None:
    given, rule = FILTERS[beside] if beside else ({}, lambda _: True)
    found = [order for order in shelf.orders if WAITING[attention](order)]
    assert 0 < len(found) < len(shelf.orders)
    await is_listed_in_every_sort_both_ways(
        shelf, {**given, "attention": attention}, rule, WAITING[attention]
    )


async def test_a_list_that_is_not_told_how_is_sorted_newest_first(shelf: Shelf) -> None:
    assert await walked(shelf, limit=100) == newest(shelf.orders)
    assert await walked(shelf, limit=100, filter=None, sort=None) == newest(shelf.orders)
    assert await walked(shelf, limit=100, sort={"field": "createdAt"}) == newest(shelf.orders)


async def test_a_cursor_walk_sees_each_order_once_while_others_are_placed(empty: Shelf) -> None:
    old = [an_order(created_at=NOW - timedelta(minutes=n // 3), total=n % 4 * 100) for n in range(40)]
    await empty.put(old)
    for field, key in SORTS.items():
        before, seen, after = list(empty.orders), list[str](), None
        while True:
            page = (await empty.ask(NODES, sort={"field": field}, limit=6, after=after))["orders"]
            seen += numbers(page["nodes"])
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNext"]:
                break
            more = len(empty.orders)  # before all others, whatever the sort
            await empty.put([an_order(created_at=NOW + timedelta(minutes=more), total=10**6 + more)])
        assert seen == numbers(sorted(before, key=key, reverse=True))


async def test_the_pages_behind_a_cursor_are_numbered_on(shelf: Shelf) -> None:
    first = (await shelf.ask(ORDERS, limit=5))["orders"]["pageInfo"]
    assert (first["page"], first["hasPrev"]) == (1, False)
    second = (await shelf.ask(ORDERS, limit=5, after=first["endCursor"]))["orders"]["pageInfo"]
    assert (second["page"], second["hasPrev"], second["total"]) == (2, True, 400)


def _altered(cursor: str, key: str) -> str:
    digest, page, _, order_id = orjson.loads(urlsafe_b64decode(cursor))
    return urlsafe_b64encode(orjson.dumps([digest, page, key, order_id])).decode()


async def test_a_cursor_of_another_list_is_refused(shelf: Shelf) -> None:
    first = (await shelf.ask(ORDERS, limit=5))["orders"]["pageInfo"]["endCursor"]
    by_total = {"field": "total"}
    of_totals = (await shelf.ask(ORDERS, limit=5, sort=by_total))["orders"]["pageInfo"]["endCursor"]
    said = "after is the endCursor of a page of this list, with this filter and sort"
    for wrong in (
        {"after": first, "filter": {"status": "PENDING"}},
        {"after": first, "sort": {"field": "createdAt", "direction": "ASC"}},
        {"after": first, "sort": by_total},
        {"after": of_totals},
        {"after": "nonsense"},
        {"after": "bnVsbA=="},
        {"after": "x" * 1000},
        {"after": _altered(first, "0001-01-01T00:00:00+14:00")},
        {"after": _altered(first, "2026-01-01T00:00:00")},
    ):
        assert await shelf.bad_input(ORDERS, **wrong) == said
    mine = "query($after: String) { myOrders(after: $after) { nodes { id } } }"
    assert (await shelf.refused(mine, SHOPPER, after=first)).message == said
    assert await shelf.bad_input(ORDERS, after=first, page=2) == "Give page or after, not both"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"limit": 0}, "limit is 1 to 100"),
        ({"limit": 101}, "limit is 1 to 100"),
        ({"page": 0}, "page is 1 or more"),
        ({"page": 102, "limit": 100}, "A page begins at most 10000 orders in"),
        ({"sort": {"field": "updatedAt"}}, "sort.field is createdAt or total"),
        ({"sort": {"field": "total", "direction": "UP"}}, "sort.direction is ASC or DESC"),
        (
            {"sort": {"field": "total"}, "filter": {"search": "ann"}},
            "What a search finds is sorted by createdAt",
        ),
        ({"filter": {"search": " a "}}, "search takes 2 characters at least"),
        ({"filter": {"search": "a\x00bc"}}, "search has a control character"),
        ({"filter": {"search": "x" * 501}}, "search has 500 characters at most"),
        ({"filter": {"customerId": "ann"}}, "customerId is a UUID"),
        ({"filter": {"dateRange": {"start": "yesterday", "end": "2026-01-01"}}}, "dateRange.start is an ISO"),
        ({"filter": {"dateRange": {"start": "2026-01-01", "end": "9999-12-31"}}}, "dateRange.end is an ISO"),
        (
            {"filter": {"dateRange": {"start": "0001-01-01", "end": "2026-01-01"}}},
            "dateRange.start is an ISO",
        ),
        ({"filter": {"dateRange": {"start": "2026-01-02", "end": "2026-01-01"}}}, "dateRange ends before"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_what_would(shelf: Shelf, given: Any, said: str) -> None:
    assert (await shelf.bad_input(ORDERS, **given)).startswith(said)


async def test_a_page_too_deep_is_told_of_the_cursor(shelf: Shelf) -> None:
    assert "endCursor" in await shelf.bad_input(ORDERS, page=1002, limit=10)
    assert (await shelf.ask(ORDERS, page=1001, limit=10))["orders"]["nodes"] == []


@pytest.mark.parametrize(
    ("start", "end", "since", "until"),
    [
        ("2026-11-20", "2026-11-20", "2026-11-20T00:00", "2026-11-21T00:00"),
        ("2026-11-20T10:00", "2026-11-20T10:00:00Z", "2026-11-20T10:00", "2026-11-20T10:00:00.000001"),
        ("2026-11-20T10:00+02:00", "20261121", "2026-11-20T08:00", "2026-11-22T00:00"),
    ],
)
async def test_a_date_range_ends_with_its_end(
    empty: Shelf, start: str, end: str, since: str, until: str
) -> None:
    first, behind = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (since, until))
    little = timedelta(microseconds=1)
    around = [an_order(created_at=at) for at in (first - little, first, behind - little, behind)]
    await empty.put({order.created_at: order for order in around}.values())
    inside = [order for order in empty.orders if first <= order.created_at < behind]
    found = await empty.ask(ORDERS, filter={"dateRange": {"start": start, "end": end}})
    assert numbers(found["orders"]["nodes"]) == newest(inside)
    assert found["orders"]["pageInfo"]["total"] == len(inside)


async def test_orders_by_status_and_what_waits(shelf: Shelf) -> None:
    document = "query($s: OrderStatus!) { ordersByStatus(status: $s, limit: 100) { nodes { orderNumber } pageInfo { total } } }"
    for status in OrderStatus:
        right = newest(order for order in shelf.orders if order.status is status)
        found = (await shelf.ask(document, s=status.name))["ordersByStatus"]
        assert numbers(found["nodes"]) == right
        assert found["pageInfo"]["total"] == len(right)
        if field := {"PENDING": "pendingOrders", "PROCESSING": "processingOrders"}.get(status):
            assert numbers((await shelf.ask(f"{{ {field} {{ orderNumber }} }}"))[field]) == right


async def test_what_waits_is_capped_at_a_hundred(empty: Shelf) -> None:
    await empty.put(an_order(created_at=NOW + timedelta(seconds=n)) for n in range(101))
    found = (await empty.ask("{ pendingOrders { orderNumber } }"))["pendingOrders"]
    assert numbers(found) == newest(empty.orders)[:100]


SHIPPED_FILTERS: dict[str, tuple[dict[str, Any], Keep]] = {
    "carrier": ({"carrier": "UPS"}, lambda o: o.shipping_carrier == "UPS"),
    "service": ({"service": "Ground"}, lambda o: o.shipping_service == "Ground"),
    "tracking": ({"tracking": "1Z_9"}, lambda o: (o.tracking or "").startswith("1Z_9")),
    "days": FILTERS["days"],
    "search": FILTERS["search"],
}


@pytest.mark.parametrize(
    "names", [n for size in range(6) for n in combinations(SHIPPED_FILTERS, size)], ids=" and ".join
)
async def test_shipped_orders_by_every_filter_alone_and_with_every_other(
    shelf: Shelf, names: tuple[str, ...]
) -> None:
    given: dict[str, Any] = {}
    for name in names:
        given |= SHIPPED_FILTERS[name][0]
    wanted = expected(shelf, lambda o: o.status in SHIPPED, *(SHIPPED_FILTERS[name][1] for name in names))
    for field, key in SORTS.items():
        if field == "total" and "search" in names:
            continue
        for direction in ("ASC", "DESC"):
            right = numbers(sorted(wanted, key=key, reverse=direction == "DESC"))
            sort = {"field": field, "direction": direction}
            page = (await shelf.ask(SHIPPED_ORDERS, filter=given, sort=sort))["shippedOrders"]
            assert numbers(page["nodes"]) == right[:100]
            assert page["pageInfo"] == {
                "total": len(right),
                "totalIsExact": True,
                "hasNext": len(right) > 100,
            }


async def test_a_shopper_sees_its_own_and_a_member_of_staff_owns_none(shelf: Shelf) -> None:
    document = "{ myOrders(limit: 100) { nodes { orderNumber } pageInfo { total } } }"
    for caller in (SHOPPER, OTHER):
        right = newest(order for order in shelf.orders if order.customer_id == caller.customer_id)
        mine = (await shelf.ask(document, caller))["myOrders"]
        assert (numbers(mine["nodes"]), mine["pageInfo"]["total"]) == (right[:100], len(right))
    for caller in (STAFF, PARTNER, GUEST):
        assert (await shelf.ask(document, caller))["myOrders"] == {"nodes": [], "pageInfo": {"total": 0}}
    theirs = next(iter(shelf.orders))
    guest = Principal(Role.GUEST, "orders|g", "orders", "g", order_id=theirs.id)
    assert numbers((await shelf.ask(document, guest))["myOrders"]["nodes"]) == [theirs.order_number]


async def test_lists_and_figures_are_for_staff(shelf: Shelf) -> None:
    fields = (
        "orders { nodes { id } }",
        "ordersByStatus(status: PENDING) { nodes { id } }",
        "shippedOrders { nodes { id } }",
        "pendingOrders { id }",
        "processingOrders { id }",
        "orderStats { totalOrders }",
        'orderSeries(dateRange: {start: "2026-11-01", end: "2026-11-02"}) { orders }',
    )
    for field in fields:
        for caller in (SHOPPER, GUEST, PARTNER):
            assert (await shelf.refused(f"{{ {field} }}", caller)).code is Code.FORBIDDEN
        assert (await shelf.refused(f"{{ {field} }}", ANONYMOUS)).code is Code.UNAUTHENTICATED
    for field in ("me { id }", "myOrders { nodes { id } }"):
        assert (await shelf.refused(f"{{ {field} }}", ANONYMOUS)).code is Code.UNAUTHENTICATED


async def test_me_is_the_customer_who_asks(shelf: Shelf) -> None:
    document = "{ me { id firstName lastName email phone } }"
    assert (await shelf.ask(document, SHOPPER))["me"] == {
        "id": str(CUSTOMER),
        "firstName": "Ann",
        "lastName": "Lee",
        "email": "ann@example.com",
        "phone": "+14155550123",
    }
    new = Principal(Role.SHOPPER, "test|new", "test", "new", an_order().id)
    for caller in (STAFF, GUEST, PARTNER, new):
        assert (await shelf.ask(document, caller))["me"] is None


async def found_by(shelf: Shelf, term: str, **filters: Any) -> list[str]:
    return await walked(shelf, filter={"search": term, **filters}, limit=100)


@pytest.mark.parametrize(
    "term",
    [
        "ann lee",
        "NN L",
        "ann@ex",
        "ann@",
        "Ann@Example.COM",
        "n@example.com",
        "4155550",
        "(415) 555-0123",
        " Ann Lee ",
    ],
)
async def test_a_search_finds_a_customers_orders_by_any_part_of_what_names_it(
    shelf: Shelf, term: str
) -> None:
    right = newest(order for order in shelf.orders if order.customer_id == CUSTOMER)
    assert await found_by(shelf, term) == right


async def test_a_few_digits_are_the_end_of_a_phone(shelf: Shelf) -> None:
    right = newest(order for order in shelf.orders if order.customer_id == CUSTOMER)
    for end in ("50123", "550123"):
        assert await found_by(shelf, end) == right
    for within in ("5550", "415555", "555"):
        assert await found_by(shelf, within) == []


@pytest.mark.parametrize("term", ["ångström", "ANGSTRÖM"[1:], "ÅN", "ca"])
async def test_a_search_knows_letters_of_any_alphabet_and_two_of_them_as_the_beginning_of_a_word(
    shelf: Shelf, term: str
) -> None:
    assert await found_by(shelf, term) == newest(o for o in shelf.orders if o.customer_id == CAROL)
    for inside in ("öm", "ol"):
        assert await found_by(shelf, inside) == []


async def test_a_search_finds_an_order_by_its_number_its_beginning_and_its_end(shelf: Shelf) -> None:
    order = shelf.orders[41]
    for term in (order.order_number, order.order_number.lower(), "00042", order.order_number[4:]):
        assert await found_by(shelf, term) == [order.order_number]
    day = order.order_number[:12]
    assert await found_by(shelf, day) == newest(o for o in shelf.orders if o.order_number.startswith(day))
    for every in ("ord", "ord-", "ord-2", "ord-2026"):
        assert await found_by(shelf, every) == newest(shelf.orders)
    for length in range(len("ORD-2026"), len(order.order_number)):
        beginning = order.order_number[:length]
        right = newest(o for o in shelf.orders if o.order_number.startswith(beginning))
        assert await found_by(shelf, beginning) == right
    for nothing in (
        "20200101-00042",
        "inv-2026",
        "ord-2026-",
        "ord-20261399",
        "ord-20260230",
        "ord-0000",
        "ord-9999",
    ):
        assert await found_by(shelf, nothing) == []


async def test_a_search_finds_an_order_by_its_tracking_number(shelf: Shelf) -> None:
    order = next(order for order in shelf.orders if (order.tracking or "").startswith("1Z"))
    for term in (order.tracking or "", (order.tracking or "").lower()):
        assert await found_by(shelf, term) == [order.order_number]


async def test_a_search_finds_an_order_by_the_number_of_each_of_its_parcels(empty: Shelf) -> None:
    """The latest by its beginning, an earlier one whole; the others have nothing to do with it."""
    sent = replace(an_order(), tracking="1Z1")
    sent = replace(sent, **sent.followed_by("1Z2"))
    sent = replace(sent, **sent.followed_by("9400"))
    assert (sent.tracking, sent.earlier_trackings) == ("9400", ("1Z1", "1Z2"))
    await empty.put([sent, an_order(tracking="1Z")])
    for term in ("1Z1", "1z2", "940"):
        assert await found_by(empty, term) == [sent.order_number]


async def test_what_a_search_has_of_like_is_meant_as_it_stands(shelf: Shelf) -> None:
    bobs = newest(order for order in shelf.orders if order.customer_id == BOB)
    assert await found_by(shelf, "100%") == bobs
    assert await found_by(shelf, "b_b@") == bobs
    for nothing in (
        "ann@e_ample",
        "ann@%com",
        "ann@shop.test",
        "%%%",
        "___",
        "\\\\\\",
        "a%e",
        "1Z%9",
        "ORD_2026",
        "lee\\",
    ):
        assert await found_by(shelf, nothing) == []


async def test_a_blank_search_does_not_filter(shelf: Shelf) -> None:
    for blank in ("", "   "):
        assert await found_by(shelf, blank) == newest(shelf.orders)


async def test_an_order_that_a_search_means_twice_is_found_once(empty: Shelf) -> None:
    await empty.know_customers()
    await empty.put([an_order(order_number="ORD-20261122-4155550", tracking="4155550", created_at=NOW)])
    assert await found_by(empty, "4155550") == ["ORD-20261122-4155550"]
    assert (await empty.ask(ORDERS, filter={"search": "4155550"}))["orders"]["pageInfo"]["total"] == 1


async def test_a_search_for_what_too_many_customers_are_called_is_refused(empty: Shelf) -> None:
    async with empty.db.connection() as conn:
        await conn.execute(
            "INSERT INTO customers (id, name, updated_at) SELECT gen_random_uuid(), 'John ' || n, now() FROM generate_series(1, 501) AS n"
        )
    assert (await empty.bad_input(ORDERS, filter={"search": "john"})).startswith("More than 500 customers")
    assert await found_by(empty, "john 501") == []


async def test_a_total_that_was_not_counted_to_its_end_says_so(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.lists.store.MOST_COUNTED", 50)
    monkeypatch.setattr("orders.lists.pages.MOST_COUNTED", 50)
    half = {"dateRange": {"start": "2026-01-01T00:00:01", "end": "2026-12-31"}}
    for given in (half, {"search": "ord-2026"}, {"customerId": str(CAROL)}):
        info = (await shelf.ask(ORDERS, filter=given, limit=20))["orders"]["pageInfo"]
        assert (info["total"], info["pages"], info["totalIsExact"]) == (50, 3, False)


async def test_what_no_index_sorts_is_sorted_unless_it_is_too_much(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.lists.store.MOST_SORTED", 50)
    carol: dict[str, Any] = {"filter": {"customerId": str(CAROL)}, "sort": {"field": "total"}}
    assert (await shelf.bad_input(ORDERS, **carol)).startswith("More than 50 orders match")
    some = expected(shelf, lambda o: o.customer_id == CAROL and o.status is OrderStatus.PENDING)
    carol["filter"]["status"] = "PENDING"
    assert await walked(shelf, **carol) == numbers(sorted(some, key=SORTS["total"], reverse=True))


async def test_a_carriers_orders_are_in_order_of_their_total_however_many_they_are(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.lists.store.MOST_SORTED", 1)
    for given, of in (({"carrier": "USPS"}, "shipping_carrier"), ({"service": "Ground"}, "shipping_service")):
        [value] = given.values()
        right = [o for o in shelf.orders if getattr(o, of) == value and o.status in SHIPPED]
        for direction in ("ASC", "DESC"):
            sorted_ = sorted(right, key=SORTS["total"], reverse=direction == "DESC")
            by_total = {"field": "total", "direction": direction}
            page = (await shelf.ask(SHIPPED_ORDERS, filter=given, sort=by_total))["shippedOrders"]
            assert numbers(page["nodes"]) == numbers(sorted_)[:100]


async def test_nothing_is_counted_for_those_who_do_not_ask(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []
    read = shelf.db._read

    async def noted(text: str, arguments: Any) -> Any:
        texts.append(text)
        return await read(text, arguments)

    monkeypatch.setattr(shelf.db, "_read", noted)
    await shelf.ask(NODES)
    assert len(texts) == 1
    await shelf.ask(ORDERS)
    assert len(texts) == 3
    assert "order_totals" in texts[-1] + texts[-2]


def test_totals_of_whole_days_are_rolled_up_and_others_are_counted() -> None:
    days = Span(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    hours = Span(datetime(2026, 1, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    assert Wanted(statuses=(OrderStatus.PENDING,), order_type=OrderType.MIXED, span=days).is_rolled_up
    assert not Wanted(span=hours).is_rolled_up
    assert not Wanted(mine=True).is_rolled_up
    assert not Wanted(search="abc").is_rolled_up
    assert not Wanted(customer_id=CUSTOMER, span=days).is_rolled_up
