"""Who may do what with an order: one list for the commands that ask it and for the explanation that tells it."""

from collections.abc import Mapping
from dataclasses import dataclass

from orders.status import TARGETS, Command, OrderStatus
from shared.auth import Principal, Scope
from shared.errors import Code, Refusal


@dataclass(frozen=True, slots=True)
class Right:
    """`scopes`: staff with any of them. `owner`: whoever placed the order too, with an account or as a guest."""

    scopes: tuple[Scope, ...]
    owner: bool = False

    def who(self) -> list[str]:
        return [*(["owner"] if self.owner else []), *(f"staff:{scope}" for scope in self.scopes)]


_SUPPORT, _FULFILMENT, _FINANCE = Right((Scope.SUPPORT,)), Right((Scope.FULFILMENT,)), Right((Scope.FINANCE,))
_REFUND = Right((Scope.SUPPORT, Scope.FINANCE))
_OWNER = Right((Scope.SUPPORT,), owner=True)
NOTES = _SUPPORT
RIGHTS: dict[Command, Right] = {
    Command.CANCEL: _OWNER,
    Command.CANCEL_ITEMS: _OWNER,
    Command.EDIT_ADDRESS: _OWNER,
    Command.PAY_OFFLINE: _FINANCE,
    Command.SHIP: _FULFILMENT,
    Command.TRACK: _FULFILMENT,
    Command.MARK_DELIVERED: _FULFILMENT,
    Command.MARK_RETURNED: _FULFILMENT,
    Command.REFUND: _REFUND,
    Command.REFUND_AGAIN: _REFUND,
    Command.HOLD: _SUPPORT,
    Command.RELEASE: _SUPPORT,
}


def right_to_set(status: OrderStatus) -> Right:
    """Of a command by the status it leads to: for staff alone, whose scope it is. What nothing leads to is anybody's to be refused."""
    return Right(RIGHTS[TARGETS[status]].scopes if status in TARGETS else ())


def require(principal: Principal, right: Right) -> None:
    """Whether the order is the owner's own is for the command to see. Raises Refusal UNAUTHENTICATED or FORBIDDEN."""
    principal.require_signed_in()
    if principal.is_staff or not right.owner:
        principal.require_staff(*right.scopes)


def refund_limit(principal: Principal, limits: Mapping[Scope, int]) -> int | None:
    """In minor units, for all that the caller asks back of one order; None: finance has none."""
    if Scope.FINANCE in principal.scopes:
        return None
    return max((limits.get(scope, 0) for scope in principal.scopes), default=0)


def within_limit(asked: int, limit: int | None, shown: float | None, currency: str) -> None:
    """Raises Refusal FORBIDDEN, which tells the limit."""
    if limit is not None and asked > limit:
        raise Refusal(
            Code.FORBIDDEN,
            "That is more than you may refund of one order: ask finance",
            limit=shown,
            currency=currency,
        )
