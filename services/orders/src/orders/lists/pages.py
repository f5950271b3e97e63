"""A page of orders: by number or behind a cursor. One order more is read than is shown, so that `hasNext` counts nothing."""

import asyncio
from dataclasses import dataclass, replace

import strawberry

from orders.answering import node
from orders.graph import OrderNode
from orders.lists import store
from orders.lists.cursors import cursor_of, place_of
from orders.lists.filters import Wanted, or_default
from orders.lists.store import MOST_COUNTED, Slice
from shared.errors import Code, Refusal
from shared.graphql import Info

MAX_PAGE = 100
MAX_OFFSET = 10_000
USUAL_LIMIT = 10


@dataclass(frozen=True, slots=True)
class Total:
    orders: int
    is_exact: bool


class Count:
    """How many orders a list has; found out once, for the first who asks."""

    def __init__(self, info: Info, wanted: Wanted) -> None:
        self._context, self._wanted = info.context, wanted
        self._task: asyncio.Task[Total] | None = None

    async def __call__(self) -> Total:
        if self._task is None:
            self._task = asyncio.create_task(self._count())
        return await self._task

    async def _count(self) -> Total:
        db, wanted = self._context.service.db, self._wanted
        if wanted.is_rolled_up:
            return Total(await store.counted_by_roll_up(db, wanted), is_exact=True)
        found = await store.counted(db, self._context.principal, wanted)
        return Total(min(found, MOST_COUNTED), is_exact=found <= MOST_COUNTED)


@strawberry.type(
    description="Where in the list this page is. Orders are counted for those who ask for total or pages."
)
class PageInfo:
    page: int
    limit: int
    has_next: bool
    has_prev: bool
    end_cursor: str | None = strawberry.field(
        description="Given as `after` it brings the next page, however deep; null on an empty page."
    )
    count: strawberry.Private[Count]

    @strawberry.field(description=f"{MOST_COUNTED} where there are more and totalIsExact is false.")
    async def total(self) -> int:
        return (await self.count()).orders

    @strawberry.field
    async def pages(self) -> int:
        return -(-(await self.count()).orders // self.limit)

    @strawberry.field
    async def total_is_exact(self) -> bool:
        return (await self.count()).is_exact


@strawberry.type
class PaginatedOrders:
    nodes: list[OrderNode]
    page_info: PageInfo


async def paginated(
    info: Info, wanted: Wanted, page: int | None, limit: int | None, after: str | None
) -> PaginatedOrders:
    """Raises Refusal BAD_INPUT."""
    number, part = _part(
        wanted, or_default(page, None), or_default(limit, USUAL_LIMIT), or_default(after, None)
    )
    one_more = replace(part, limit=part.limit + 1)
    found = await store.listed(info.context.service.db, info.context.principal, wanted, one_more)
    shown = found[: part.limit]
    return PaginatedOrders(
        nodes=[node(info, order) for order in shown],
        page_info=PageInfo(
            page=number,
            limit=part.limit,
            has_next=len(found) > len(shown),
            has_prev=number > 1,
            end_cursor=cursor_of(wanted, shown[-1], number) if shown else None,
            count=Count(info, wanted),
        ),
    )


async def newest(info: Info, wanted: Wanted) -> list[OrderNode]:
    """The first MAX_PAGE."""
    part = Slice(MAX_PAGE)
    found = await store.listed(info.context.service.db, info.context.principal, wanted, part)
    return [node(info, order) for order in found]


def _part(wanted: Wanted, page: int | None, limit: int, after: str | None) -> tuple[int, Slice]:
    """The page's number too: behind a cursor it is the one after that of the cursor."""
    if not 1 <= limit <= MAX_PAGE:
        raise Refusal(Code.BAD_INPUT, f"limit is 1 to {MAX_PAGE}", argument="limit")
    if after:
        if page is not None:
            raise Refusal(Code.BAD_INPUT, "Give page or after, not both", argument="after")
        place = place_of(wanted, after)
        return place.page + 1, Slice(limit, after=place)
    number = 1 if page is None else page
    if number < 1:
        raise Refusal(Code.BAD_INPUT, "page is 1 or more", argument="page")
    if (number - 1) * limit > MAX_OFFSET:
        raise Refusal(
            Code.BAD_INPUT,
            f"A page begins at most {MAX_OFFSET} orders in, since those before it are read to be skipped:"
            " to go on, give the endCursor of a page as after",
            argument="page",
        )
    return number, Slice(limit, offset=(number - 1) * limit)
