"""Who may see what is about an order: written once, used in the WHERE of every service's queries and by its commands."""

from typing import Protocol
from uuid import UUID

from sqlalchemy import ColumnElement, Table, false, true

from shared.auth import Principal, Role


def visible_to(principal: Principal, table: Table) -> ColumnElement[bool]:
    """Staff see everything, a shopper and a partner what is theirs (`customer_id`, `partner_id`), anybody else nothing."""
    if principal.role is Role.STAFF:
        return true()
    if principal.role is Role.SHOPPER and principal.customer_id is not None:
        return table.c.customer_id == principal.customer_id
    if principal.role is Role.PARTNER and principal.partner_id is not None:
        return table.c.partner_id == principal.partner_id
    return false()


class Owned(Protocol):
    """What is about an order says whose it is."""

    @property
    def customer_id(self) -> UUID: ...

    @property
    def partner_id(self) -> str | None: ...


def may_see(principal: Principal, owned: Owned) -> bool:
    """The same for what is loaded already."""
    if principal.role is Role.SHOPPER:
        return principal.customer_id is not None and owned.customer_id == principal.customer_id
    if principal.role is Role.PARTNER:
        return principal.partner_id is not None and owned.partner_id == principal.partner_id
    return principal.role is Role.STAFF
