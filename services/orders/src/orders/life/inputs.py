"""What the mutations of an order's life take, checked before a command sees it. Raises Refusal BAD_INPUT."""

import re
from urllib.parse import urlsplit

import strawberry

from orders.answering import MAX_TEXT, text
from orders.status import OrderStatus
from shared.errors import Code, Refusal
from shared.texts import checked

MAX_NOTES = 5_000
MAX_ITEMS = 100

_NOT_IN_A_LINK = re.compile(r"[\s<>\"\\]")


@strawberry.input
class UpdateOrderStatusInput:
    status: OrderStatus
    notes: str | None = strawberry.UNSET


@strawberry.input
class UpdateOrderShippingInput:
    carrier: str
    service: str
    tracking_number: str | None = strawberry.UNSET
    tracking_url: str | None = strawberry.UNSET


@strawberry.input(description="Pieces of one of the order's items.")
class ItemQuantityInput:
    item_id: strawberry.ID
    quantity: int


def pieces(given: list[ItemQuantityInput]) -> list[tuple[str, int]]:
    """Of at least one item, at least one piece of each."""
    wanted = kept(given)
    if not wanted or any(quantity < 1 for _, quantity in wanted):
        raise Refusal(Code.BAD_INPUT, "Name at least one piece of at least one item")
    return wanted


def kept(given: list[ItemQuantityInput]) -> list[tuple[str, int]]:
    if len(given) > MAX_ITEMS:
        raise Refusal(Code.BAD_INPUT, f"An order has {MAX_ITEMS} items at most")
    return [(text("itemId", str(item.item_id)), item.quantity) for item in given]


def reason_of(given: str | None, default: str = "") -> str:
    return checked("reason", given or default, MAX_TEXT, lines=True)


def notes_of(given: str) -> str:
    return checked("notes", given, MAX_NOTES, lines=True)


def required(name: str, value: str) -> str:
    """One line that is not blank."""
    if not value.strip():
        raise Refusal(Code.BAD_INPUT, f"{name} is empty", argument=name)
    return text(name, value.strip())


def optional(name: str, value: str | None) -> str | None:
    """None for what was left out, is null, or is blank."""
    return text(name, value.strip()) if value and value.strip() else None


def link(name: str, value: str | None) -> str | None:
    """A web address: shoppers follow it, so nothing but http and https, and nothing that makes it look like another."""
    url = optional(name, value)
    if url is not None and not _is_link(url):
        raise Refusal(Code.BAD_INPUT, f"{name} is an http or https address", argument=name)
    return url


def _is_link(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_web = parts.scheme in {"http", "https"} and bool(parts.hostname)
    return is_web and "@" not in parts.netloc and not _NOT_IN_A_LINK.search(url)
