"""What a client says about an order to be, how it is checked, and amounts. What may be left out and is new has no default in the SDL."""

import dataclasses
import re
from typing import Any
from uuid import UUID

import strawberry
from strawberry import UNSET
from strawberry.utils.str_converters import to_camel_case

from orders.answering import text
from orders.checkout.basket import MAX_TOTAL
from orders.checkout.place import Customer
from orders.checkout.places import is_country
from orders.metadata import Metadata
from shared.auth import Principal
from shared.commands import uuid_or
from shared.contracts.money import to_minor
from shared.contracts.orders import STATE_NEEDED
from shared.errors import Code, Refusal
from shared.ids import uuid7

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}\.[^@\s.]{2,63}")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")


@strawberry.input
class AddressInput:
    street: str
    city: str
    state: str
    zip_code: str
    country: str
    street2: str | None = None
    name: str | None = None
    phone: str | None = None


@strawberry.input
class OrderItemInput:
    sku: str
    quantity: int


@strawberry.input(description="Who is told about the order; what is missing is taken from the token.")
class ContactInput:
    name: str | None = None
    email: str | None = None
    phone: str | None = None


@strawberry.input
class CreateOrderInput:
    items: list[OrderItemInput]
    shipping_address: AddressInput
    billing_address: AddressInput | None = None
    contact: ContactInput | None = None
    delivery_speed: str = "standard"
    discount_code: str | None = UNSET
    shipping_quote: str | None = strawberry.field(
        default=UNSET,
        description="A token of shippingQuotes: its amount is charged instead of the delivery speed's.",
    )
    customer_id: strawberry.ID | None = strawberry.field(
        default=UNSET, description="Staff alone: for whom. That customer's own contact data is used."
    )
    metadata: Metadata | None = UNSET

    def arguments(self) -> dict[str, Any]:
        """For the Idempotency-Key: what is left out is not there, as it was before there was such a field."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in given.items() if name not in _NEWER or value}


_NEWER = {"discount_code", "shipping_quote", "customer_id", "metadata"}


def require_sound(principal: Principal, given: CreateOrderInput) -> None:
    """What placing it would refuse of what is given beside the goods and where they go, though not what is still missing.

    Raises Refusal BAD_INPUT, UNAUTHENTICATED or FORBIDDEN.
    """
    if given.contact is not None:
        _require_reachable(given.contact)
    if given.billing_address is not None:
        address_of(given.billing_address)
    if given.customer_id:
        buyer(principal, given)


def buyer(principal: Principal, given: CreateOrderInput) -> Customer | UUID:
    """A shopper orders as itself, guests and staff for somebody new, staff also for a customer that there is: then its id.

    Raises Refusal BAD_INPUT; UNAUTHENTICATED or FORBIDDEN for who is not staff and names a customer.
    """
    if not given.customer_id:
        return _new_customer(principal, given.contact or ContactInput(), given.shipping_address)
    principal.require_staff()
    if given.contact is not None:
        raise Refusal(Code.BAD_INPUT, "With customerId the customer's own contact data is used: no contact")
    return uuid_or(str(given.customer_id), _unknown_customer())


def _new_customer(principal: Principal, contact: ContactInput, address: AddressInput) -> Customer:
    """Labels need a name: without one, BAD_INPUT."""
    own = principal.customer_id is not None
    name = contact.name or (principal.name if own else None) or address.name
    if not name or not name.strip():
        places = (
            "in contact, in shippingAddress or in the token" if own else "in contact or in shippingAddress"
        )
        raise Refusal(Code.BAD_INPUT, f"A name is needed for the parcel: {places}")
    _require_reachable(contact)
    return Customer(
        id=principal.customer_id or uuid7(),
        issuer=principal.issuer if own else None,
        subject=principal.subject if own else None,
        name=text("name", name),
        email=contact.email or (principal.email if own else None),
        phone=contact.phone,
    )


def _require_reachable(contact: ContactInput) -> None:
    if contact.name:
        text("contact.name", contact.name)
    if contact.email and not _EMAIL.fullmatch(text("contact.email", contact.email)):
        raise Refusal(Code.BAD_INPUT, "contact.email is no email address")
    if contact.phone and not _PHONE.fullmatch(contact.phone):
        raise Refusal(Code.BAD_INPUT, "contact.phone is a number such as +14155550123")


def known_customer(customer_id: UUID, sku: Any) -> Customer:
    """As it is stored (`store.skus_for`). Raises Refusal BAD_INPUT."""
    if sku.customer_id is None:
        raise _unknown_customer()
    return Customer(
        id=customer_id,
        issuer=sku.customer_issuer,
        subject=sku.customer_subject,
        name=sku.customer_name,
        email=sku.customer_email,
        phone=sku.customer_phone,
    )


def _unknown_customer() -> Refusal:
    return Refusal(Code.BAD_INPUT, "There is no such customer", argument="customerId")


def address_of(given: AddressInput) -> dict[str, Any]:
    """Raises Refusal BAD_INPUT."""
    for field in ("street", "city", "state", "zip_code", "country"):
        may_lack = field == "state" and given.country.upper() not in STATE_NEEDED
        if not may_lack and not getattr(given, field).strip():
            raise Refusal(Code.BAD_INPUT, f"The address needs its {to_camel_case(field)}")
    if not is_country(given.country.upper()):
        raise Refusal(Code.BAD_INPUT, "country is an ISO 3166-1 alpha-2 code, such as US")
    fields = ((field.name, getattr(given, field.name)) for field in dataclasses.fields(given))
    checked = {field: text(to_camel_case(field), value) if value else None for field, value in fields}
    return {**checked, "state": (checked["state"] or "").strip(), "country": given.country.upper()}


def named(address: dict[str, Any], name: str) -> dict[str, Any]:
    """With the customer's name where it has none of its own."""
    return address if address["name"] else {**address, "name": name}


def amount_of(name: str, major: float, currency: str) -> int:
    """In minor units. Raises Refusal BAD_INPUT, which tells the argument's name."""
    try:
        minor = to_minor(major, currency)
    except ValueError as invalid:
        raise bad(name, str(invalid)) from invalid
    if not 0 <= minor <= MAX_TOTAL:
        raise bad(name, "is no amount that an order can have")
    return minor


def bad(name: str, message: str) -> Refusal:
    return Refusal(Code.BAD_INPUT, f"{name} {message}", argument=name)
