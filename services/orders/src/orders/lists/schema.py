"""Orders as one, as a page, by filter, by search; how many there are; who is asking. And the catalogue."""

import strawberry
from strawberry import UNSET

from orders import store
from orders.answering import node, text
from orders.graph import OrderNode, SkuNode, UserNode, load_order
from orders.lists import statistics
from orders.lists.filters import (
    DateRangeInput,
    OrderFilterInput,
    ShippedOrderFilterInput,
    SortInput,
    Wanted,
    or_default,
    wanted_orders,
    wanted_shipped,
)
from orders.lists.pages import MAX_PAGE, PaginatedOrders, newest, paginated
from orders.lists.statistics import OrderDay, OrderStats
from orders.status import OrderStatus
from shared.errors import Code, Refusal
from shared.graphql import Info

USUAL_SKUS = 50


@strawberry.type
class Query:
    @strawberry.field(
        description="The signed-in customer; null for staff, guests, partners, and before the first order."
    )
    async def me(self, info: Info) -> UserNode | None:
        principal = info.context.principal
        principal.require_signed_in()
        if principal.customer_id is None:
            return None
        rows = await store.customers_by_id(info.context.service.db, [principal.customer_id])
        return UserNode.of(rows[principal.customer_id]) if rows else None

    @strawberry.field
    async def order(self, info: Info, id: strawberry.ID) -> OrderNode | None:  # noqa: A002 - seed A's name
        info.context.principal.require_signed_in()
        order = await load_order(info, str(id))
        return node(info, order) if order else None

    @strawberry.field
    async def order_by_number(self, info: Info, order_number: str) -> OrderNode | None:
        principal = info.context.principal
        principal.require_signed_in()
        number = text("orderNumber", order_number).strip().upper()
        order = await store.order_by_number(info.context.service.db, principal, number)
        return node(info, order) if order else None

    @strawberry.field(description="The caller's own, newest first.")
    async def my_orders(
        self, info: Info, page: int | None = UNSET, limit: int | None = UNSET, after: str | None = UNSET
    ) -> PaginatedOrders:
        info.context.principal.require_signed_in()
        return await paginated(info, Wanted(mine=True), page, limit, after)

    @strawberry.field(description="For staff. Newest first, unless sorted otherwise.")
    async def orders(
        self,
        info: Info,
        filter: OrderFilterInput | None = UNSET,  # noqa: A002 - seed A's name
        sort: SortInput | None = UNSET,
        page: int | None = UNSET,
        limit: int | None = UNSET,
        after: str | None = UNSET,
    ) -> PaginatedOrders:
        info.context.principal.require_staff()
        return await paginated(info, wanted_orders(filter, sort), page, limit, after)

    @strawberry.field(description="For staff, newest first.")
    async def orders_by_status(
        self,
        info: Info,
        status: OrderStatus,
        page: int | None = UNSET,
        limit: int | None = UNSET,
        after: str | None = UNSET,
    ) -> PaginatedOrders:
        info.context.principal.require_staff()
        return await paginated(info, Wanted(statuses=(status,)), page, limit, after)

    @strawberry.field(
        description="For staff: what has left as a whole, thus is SHIPPED, DELIVERED, RETURNED, or REFUNDED after that."
    )
    async def shipped_orders(
        self,
        info: Info,
        filter: ShippedOrderFilterInput | None = UNSET,  # noqa: A002 - seed A's name
        sort: SortInput | None = UNSET,
        page: int | None = UNSET,
        limit: int | None = UNSET,
        after: str | None = UNSET,
    ) -> PaginatedOrders:
        info.context.principal.require_staff()
        return await paginated(info, wanted_shipped(filter, sort), page, limit, after)

    @strawberry.field(description=f"For staff: the {MAX_PAGE} newest.")
    async def pending_orders(self, info: Info) -> list[OrderNode]:
        info.context.principal.require_staff()
        return await newest(info, Wanted(statuses=(OrderStatus.PENDING,)))

    @strawberry.field(description=f"For staff: the {MAX_PAGE} newest.")
    async def processing_orders(self, info: Info) -> list[OrderNode]:
        info.context.principal.require_staff()
        return await newest(info, Wanted(statuses=(OrderStatus.PROCESSING,)))

    @strawberry.field(description="For staff.")
    async def order_stats(self, info: Info) -> OrderStats:
        info.context.principal.require_staff()
        return await statistics.stats(info)

    @strawberry.field(
        description=f"For staff: every day that the range touches, {statistics.MAX_DAYS} at most, oldest first."
    )
    async def order_series(self, info: Info, date_range: DateRangeInput) -> list[OrderDay]:
        info.context.principal.require_staff()
        return await statistics.series(info, date_range)

    @strawberry.field(
        description="The catalogue in the order of SKU ids, beginning after one of them; open to everybody."
    )
    async def skus(self, info: Info, after: str | None = UNSET, limit: int | None = UNSET) -> list[SkuNode]:
        most = or_default(limit, USUAL_SKUS)
        if not 1 <= most <= MAX_PAGE:
            raise Refusal(Code.BAD_INPUT, f"limit is 1 to {MAX_PAGE}", argument="limit")
        beginning = text("after", or_default(after, ""))
        rows = await store.skus_page(info.context.service.db, after=beginning, limit=most)
        return [SkuNode.of(row.id, row) for row in rows]
