"""The demo: an order of every kind through the real stack, watched as they go, and the books checked at the end."""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from asyncpg import PostgresError
from orjson import JSONDecodeError
from pyreqwest.exceptions import PyreqwestError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ordermesh.books import Book, Check, checks
from ordermesh.catalogue import feed_catalogue
from ordermesh.errors import LauncherError
from ordermesh.evidence import gather, in_flight
from ordermesh.programs import GATEWAY, PROVIDERS, SANDBOX
from ordermesh.settings import Settings
from ordermesh.shop import Places, Reading, Refused, Shop
from ordermesh.signals import run_until_signalled
from ordermesh.stack import Stack, serving
from ordermesh.stories import STORIES

AT_ONCE = 4
QUIET_SECONDS = 60
_REFUSALS = (Refused, OSError, PyreqwestError, PostgresError, JSONDecodeError)
"""How shop, sandbox and databases say no, or nothing in time (NotYet); any other error is a defect of ours and shows its traceback."""
_LEGEND = """msgs: emails/SMS/Slack alerts sent.
Alerts are batched into Slack posts: slack.message below counts the posts.
"""


@dataclass(frozen=True)
class Told:
    """A story as it ended, or the reason why it did not."""

    story: str
    order: Reading | None
    failure: str = ""


async def demo(
    console: Console, environment: Mapping[str, str] | None = None, kafka: str | None = None
) -> bool:
    """Run the demo on a stack and data of its own; True when every story ended well and the books agree."""
    with tempfile.TemporaryDirectory(prefix="ordermesh-demo-") as home:
        safe = _without_real_parts(environment or Settings.read().environment)
        settings = Settings.read(safe, ordermesh_kafka=kafka)
        own = settings.model_copy(update={"ordermesh_home": Path(home)})
        async with serving(own, say=lambda line: console.print(line, style="dim", highlight=False)) as stack:
            return await _run(stack, console)


def _without_real_parts(environment: Mapping[str, str]) -> dict[str, str]:
    """A demo charges nobody's card and writes into nobody's database, whatever the environment names."""
    real = {provider.key for provider in PROVIDERS.values()} | {"KAFKA_URL"}
    return {
        name: value
        for name, value in environment.items()
        if name not in real and not name.endswith("_DATABASE_URL")
    }


async def _run(stack: Stack, console: Console) -> bool:
    """Raises LauncherError when the shop does not answer as it should: because a part of the stack ended, or why it says."""
    try:
        return await _tell(stack, console)
    except Exception as error:
        if not stack.is_alive():
            await stack.watch()
        if not isinstance(error, _REFUSALS):
            raise
        reason = " ".join(str(error).split())
        raise LauncherError(f"The demo cannot go on: {type(error).__name__}: {reason}") from error


async def _tell(stack: Stack, console: Console) -> bool:
    async with Shop(Places(stack.urls[GATEWAY], stack.urls[SANDBOX])) as shop:
        await feed_catalogue(stack.infrastructure.kafka_url, shop)
        told = await _tell_all(shop, console)
        await _quiet(stack, shop)
        orders = [await shop.read(done.order["id"]) for done in told if done.order]
        orders.sort(key=_number)
        by_id = {order["id"]: order for order in orders}
        console.print(_orders_table(told, by_id), _LEGEND, _timelines_table(orders))
        console.print(await _providers_table(shop))
        agreed = checks(Book(await gather(stack.infrastructure.databases, shop), by_id))
        console.print(_books_table(agreed))
    failures = [done for done in told if done.order is None]
    for done in failures:
        console.print(f"[red]{done.story}: {done.failure}")
    good = not failures and all(check.holds for check in agreed)
    console.print(
        "[green]Every order ended as its story says, and the books agree."
        if good
        else "[red]Something is wrong."
    )
    return good


async def _tell_all(shop: Shop, console: Console) -> list[Told]:
    """Every story, a few at once, with a bar."""
    slots = asyncio.Semaphore(AT_ONCE)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("Orders", total=len(STORIES))

        async def tell_one(number: int, name: str) -> Told:
            async with slots:
                try:
                    order = await STORIES[name](shop, f"shopper{number}")
                except Exception as error:  # noqa: BLE001 - one story's failure is shown in its row, the others go on
                    return Told(name, None, f"{type(error).__name__}: {error}")
                finally:
                    progress.advance(bar)
                return Told(name, order)

        return await asyncio.gather(*(tell_one(n, name) for n, name in enumerate(STORIES, 1)))


async def _quiet(stack: Stack, shop: Shop) -> None:
    """Until webhooks are delivered, fees booked, and messages no longer on their way."""
    for _ in range(QUIET_SECONDS * 5):
        if not await in_flight(stack.infrastructure.databases, shop):
            return
        await asyncio.sleep(0.2)


def _orders_table(told: Sequence[Told], by_id: dict[str, Reading]) -> Table:
    """By order number; what failed, without one, comes first."""
    table = Table(title="Orders", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("order", "story", "status", "payment", "shipment", "msgs"):
        table.add_column(column, no_wrap=column != "shipment")
    for done in sorted(told, key=lambda done: _number(done.order) if done.order else ""):
        order = by_id.get(done.order["id"]) if done.order else None
        if order is None:
            table.add_row("", done.story, "[red]failed")
            continue
        sent = [n["channel"] for n in order["notifications"] or () if n["status"] == "SENT"]
        counts = "/".join(str(sent.count(channel)) for channel in ("EMAIL", "SMS", "SLACK"))
        table.add_row(
            order["orderNumber"][-5:],
            done.story,
            order["status"],
            order["paymentStatus"],
            ", ".join(shipment["status"] for shipment in order["shipments"] or ()),
            counts,
        )
    return table


def _number(order: Reading) -> str:
    number: str = order["orderNumber"]
    return number


def _timelines_table(orders: Sequence[Reading]) -> Table:
    """Each order's timeline, in seconds since it was placed."""
    table = Table("order", "timeline (seconds since placed)", title="Timelines", box=SIMPLE_HEAD)
    for order in orders:
        placed = datetime.fromisoformat(order["timeline"][0]["at"])
        steps = (
            f"{entry['what']} +{(datetime.fromisoformat(entry['at']) - placed).total_seconds():.1f}"
            for entry in order["timeline"]
        )
        table.add_row(order["orderNumber"][-5:], ", ".join(steps))
    return table


async def _providers_table(shop: Shop) -> Table:
    table = Table("effect", "times", title="What the providers saw", box=SIMPLE_HEAD)
    for kind, count in sorted((await shop.sandbox("GET", "/control/summary"))["counts"].items()):
        table.add_row(kind, str(count))
    return table


def _books_table(agreed: Sequence[Check]) -> Table:
    table = Table("check", "ours", "theirs", "", title="The books", box=SIMPLE_HEAD)
    for check in agreed:
        table.add_row(check.what, check.ours, check.theirs, "[green]agree" if check.holds else "[red]DIFFER")
        for violation in check.violations:
            table.add_row(f"[red]{escape(str(violation))}")
    return table


def main(kafka: str | None = None) -> int:
    """The exit code: 0 when everything went as told, 1 when not, 130 when it was interrupted. `kafka`: ORDERMESH_KAFKA."""
    console = Console()
    outcome: list[bool] = []

    async def run() -> None:
        outcome.append(await demo(console, kafka=kafka))

    if run_until_signalled(run()) and not outcome:
        return 130
    return 0 if outcome == [True] else 1
