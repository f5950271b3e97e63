"""Who may see what is about an order: written once, used in the WHERE of every service's queries and by its commands."""

from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, Text, Uuid, bindparam, false, true

from shared.auth import Principal, Role
from shared.db import Database
from shared.statements import Row, Statement


class Reading:
    """A read that is written once for each role (`visible` in its WHERE); what a caller may not see, it does not find."""

    def __init__(self, write: Callable[[Role], Select[Any]]) -> None:
        self._by_role = {role: Statement(write(role)) for role in Role}

    async def fetch(self, db: Database, principal: Principal, **parameters: Any) -> list[Row]:
        """Raises one of db.UNAVAILABLE."""
        return await db.fetch(self._by_role[principal.role], {**parameters, "caller": _caller(principal)})


def visible(role: Role, table: Table, caller: object = None) -> ColumnElement[bool]:
    """Staff see everything, a shopper and a partner what is theirs (`customer_id`, `partner_id`), a guest its one order, others nothing."""
    match role:
        case Role.STAFF:
            return true()
        case Role.SHOPPER:
            return table.c.customer_id == bindparam("caller", caller, type_=Uuid)
        case Role.PARTNER:
            return table.c.partner_id == bindparam("caller", caller, type_=Text)
        case Role.GUEST:
            order_id: ColumnElement[UUID] = table.c["order_id" if "order_id" in table.c else "id"]
            return order_id == bindparam("caller", caller, type_=Uuid)
        case _:
            return false()


def visible_to(principal: Principal, table: Table) -> ColumnElement[bool]:
    """The same for a statement that is built for this very caller."""
    return visible(principal.role, table, _caller(principal))


def _caller(principal: Principal) -> UUID | str | None:
    """None equals nothing."""
    return principal.customer_id or principal.partner_id or principal.order_id


class Owned(Protocol):
    """An order says whose it is."""

    @property
    def id(self) -> UUID: ...

    @property
    def customer_id(self) -> UUID: ...

    @property
    def partner_id(self) -> str | None: ...


def may_see(principal: Principal, order: Owned) -> bool:
    """The same for an order that is loaded already."""
    match principal.role:
        case Role.STAFF:
            return True
        case Role.SHOPPER:
            return order.customer_id == principal.customer_id
        case Role.PARTNER:
            return order.partner_id is not None and order.partner_id == principal.partner_id
        case Role.GUEST:
            return order.id == principal.order_id
        case _:
            return False
