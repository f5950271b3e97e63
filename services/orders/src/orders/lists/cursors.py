"""Where a page ended, as an opaque text: the last order's place in its list, and which list that was."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import orjson

from orders.domain import Order
from orders.lists.filters import Sort, Wanted
from shared.errors import Code, Refusal

MAX_CURSOR = 400
LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """Behind the order with this sort key and id; `page` is the number of the page that ended there."""

    key: datetime | int
    id: UUID
    page: int


def cursor_of(wanted: Wanted, order: Order, page: int) -> str:
    key = order.total if wanted.sort is Sort.TOTAL else order.created_at.isoformat()
    return urlsafe_b64encode(orjson.dumps([_digest(wanted), page, key, str(order.id)])).decode()


def place_of(wanted: Wanted, cursor: str) -> Place:
    """Raises Refusal BAD_INPUT for what is no cursor of this list: its filter and its sort are those it was made with."""
    wrong = Refusal(
        Code.BAD_INPUT,
        "after is the endCursor of a page of this list, with this filter and sort",
        argument="after",
    )
    if len(cursor) > MAX_CURSOR:
        raise wrong
    try:
        digest, page, key, order_id = orjson.loads(urlsafe_b64decode(cursor))
        place = Place(key if wanted.sort is Sort.TOTAL else _moment(key), UUID(order_id), page)
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise wrong from None
    if digest != _digest(wanted) or not isinstance(page, int) or not 1 <= page < 2**31 - 1:
        raise wrong
    if not isinstance(place.key, datetime) and not _is_amount(place.key):
        raise wrong
    return place


def _moment(text: str) -> datetime:
    """Raises ValueError without an offset, OverflowError where UTC has no such time."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without an offset")
    return at.astimezone(UTC)


def _is_amount(key: object) -> bool:
    return isinstance(key, int) and 0 <= key <= LARGEST


def _digest(wanted: Wanted) -> str:
    return hashlib.sha256(repr(wanted).encode()).hexdigest()[:16]
