"""What the graph answers about an order's life: edits, explanations, why one stayed as it was. Amounts are Floats with exact cents."""

from typing import Self

import strawberry

from orders.domain import Order
from orders.graph import TimelineEntry
from orders.life.explanation import Explanation, Step, Wait
from orders.life.holds import is_underpaid
from orders.life.items import money_of, version_of, worth
from orders.status import OrderStatus
from shared.contracts.money import to_major
from shared.graphql import iso, maybe_iso


@strawberry.type(
    description="What an edit would come to: the order's worth before and after, and what goes back. Shipping and the platform's"
    " fee stay as they are. Another country or state may have less tax, but not more. `version` is for editOrder."
)
class OrderEdit:
    order_id: strawberry.ID
    version: str
    currency: str
    total_before: float
    total_after: float
    refund: float

    @classmethod
    def of(cls, before: Order, after: Order) -> Self:
        money = money_of(before, after)
        return cls(
            order_id=strawberry.ID(str(before.id)),
            version=version_of(before, after),
            currency=before.currency,
            total_before=to_major(money.before, before.currency),
            total_after=to_major(money.after, before.currency),
            refund=to_major(money.refund, before.currency),
        )


@strawberry.type(
    description="Where the order's money is. `ordered` is its total, `worth` what is left of that without the cancelled pieces,"
    " `due` still to be paid, `fees` are for staff."
)
class MoneyPosition:
    currency: str
    ordered: float
    worth: float
    captured: float
    refunded: float
    refundable: float
    due: float
    fees: float | None

    @classmethod
    def of(cls, order: Order, *, for_staff: bool) -> Self:
        def major(minor: int) -> float:
            return to_major(minor, order.currency)

        is_owed = order.status is OrderStatus.PENDING or is_underpaid(order)
        return cls(
            currency=order.currency,
            ordered=major(order.total),
            worth=major(worth(order)),
            captured=major(order.captured),
            refunded=major(order.refunded),
            refundable=major(order.refundable),
            due=major(order.total - order.refundable if is_owed else 0),
            fees=major(order.stripe_fee + order.platform_fee) if for_staff else None,
        )


@strawberry.type(description="What the order waits for, since when, and until when at most.")
class OrderWait:
    what: str
    since: str
    until: str | None

    @classmethod
    def of(cls, wait: Wait) -> Self:
        return cls(what=wait.what, since=iso(wait.since), until=maybe_iso(wait.until))


@strawberry.type(
    description='What may be done next, by which mutation, where it leads, and by whom: "owner", or "staff:" and the scope it takes.'
)
class OrderStep:
    command: str
    mutation: str
    to: OrderStatus | None
    who: list[str]

    @classmethod
    def of(cls, step: Step) -> Self:
        return cls(command=str(step.command), mutation=step.mutation, to=step.to, who=list(step.who))


@strawberry.type(
    description="One order explained: its state, its money, what it waits for, what was decided last, who may do what next."
)
class OrderExplanation:
    order_id: strawberry.ID
    status: OrderStatus
    sentence: str
    money: MoneyPosition
    waits: list[OrderWait]
    decided: TimelineEntry | None
    next: list[OrderStep]

    @classmethod
    def of(
        cls, order: Order, explained: Explanation, decided: TimelineEntry | None, *, for_staff: bool
    ) -> Self:
        return cls(
            order_id=strawberry.ID(str(order.id)),
            status=order.status,
            sentence=explained.sentence,
            money=MoneyPosition.of(order, for_staff=for_staff),
            waits=[OrderWait.of(wait) for wait in explained.waits],
            decided=decided,
            next=[OrderStep.of(step) for step in explained.steps],
        )


@strawberry.type(
    description="Why an order stayed as it was; `code` is of the same list as `extensions.code`."
)
class OrderStatusError:
    code: str
    message: str
