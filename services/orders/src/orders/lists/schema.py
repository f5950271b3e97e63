"""Orders as one, as a page, by status: what a caller may see of them. And the catalogue."""

import strawberry

from orders import store
from orders.answering import node, text
from orders.graph import OrderNode, SkuNode, load_order
from orders.status import OrderStatus
from shared.errors import Code, Refusal
from shared.graphql import Info

MAX_PAGE = 100
MAX_OFFSET = 10_000


@strawberry.type(description="Where in the list this page is.")
class PageInfo:
    page: int
    limit: int
    total: int
    pages: int
    has_next: bool
    has_prev: bool


@strawberry.type
class PaginatedOrders:
    nodes: list[OrderNode]
    page: strawberry.Private[int]
    limit: strawberry.Private[int]
    status: strawberry.Private[OrderStatus | None]

    @strawberry.field
    async def page_info(self, info: Info) -> PageInfo:
        """Orders are counted only for those who ask."""
        total = await store.count_orders(info.context.service.db, info.context.principal, status=self.status)
        return PageInfo(
            page=self.page,
            limit=self.limit,
            total=total,
            pages=-(-total // self.limit),
            has_next=self.page * self.limit < total,
            has_prev=self.page > 1,
        )


@strawberry.type
class Query:
    @strawberry.field
    async def order(self, info: Info, id: strawberry.ID) -> OrderNode | None:  # noqa: A002 - seed A's name
        info.context.principal.require_signed_in()
        order = await load_order(info, str(id))
        return node(info, order) if order else None

    @strawberry.field
    async def order_by_number(self, info: Info, order_number: str) -> OrderNode | None:
        principal = info.context.principal
        principal.require_signed_in()
        number = text("orderNumber", order_number)
        order = await store.order_by_number(info.context.service.db, principal, number)
        return node(info, order) if order else None

    @strawberry.field
    async def my_orders(
        self, info: Info, page: int | None = 1, limit: int | None = 10
    ) -> PaginatedOrders | None:
        info.context.principal.require_signed_in()
        return await _page(info, page, limit)

    @strawberry.field
    async def orders(self, info: Info, page: int | None = 1, limit: int | None = 10) -> PaginatedOrders:
        info.context.principal.require_staff()
        return await _page(info, page, limit)

    @strawberry.field
    async def orders_by_status(
        self, info: Info, status: OrderStatus, page: int | None = 1, limit: int | None = 10
    ) -> PaginatedOrders:
        info.context.principal.require_staff()
        return await _page(info, page, limit, status)

    @strawberry.field(
        description="The catalogue in the order of SKU ids, beginning after one of them; open to everybody."
    )
    async def skus(self, info: Info, after: str | None = None, limit: int | None = 50) -> list[SkuNode]:
        limit = 50 if limit is None else limit
        if not 1 <= limit <= MAX_PAGE:
            raise Refusal(Code.BAD_INPUT, f"limit is 1 to {MAX_PAGE}")
        rows = await store.skus_page(info.context.service.db, after=text("after", after or ""), limit=limit)
        return [SkuNode.of(row) for row in rows]


async def _page(
    info: Info, page: int | None, limit: int | None, status: OrderStatus | None = None
) -> PaginatedOrders:
    page, limit = 1 if page is None else page, 10 if limit is None else limit
    if not (1 <= limit <= MAX_PAGE and page >= 1 and (page - 1) * limit <= MAX_OFFSET):
        raise Refusal(
            Code.BAD_INPUT, f"limit is 1 to {MAX_PAGE}, and a page begins at most {MAX_OFFSET} orders in"
        )
    found = await store.orders_page(
        info.context.service.db,
        info.context.principal,
        offset=(page - 1) * limit,
        limit=limit,
        status=status,
    )
    return PaginatedOrders(
        nodes=[node(info, order) for order in found], page=page, limit=limit, status=status
    )
