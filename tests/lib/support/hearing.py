"""A process of its own that hears what shipping says, with orders' own handlers, and tells when each order's fact was committed."""

import asyncio
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection

import uvloop

from orders.handlers import handlers
from shared.bus import Bus
from shared.contracts.topics import SHIPMENT_EVENTS
from shared.db import Committed, Database
from shared.inbox import Inbox
from shared.settings import ServiceSettings


def hear(settings: Mapping[str, object], group: str, told: Connection) -> None:
    """Until it is ended. Sends (order id, seconds of the monotonic clock, which all processes share) after each commit."""
    uvloop.run(_hear(ServiceSettings(**settings), group, told))  # type: ignore[arg-type] # a mapping, as it came through the pipe


async def _hear(settings: ServiceSettings, group: str, told: Connection) -> None:
    db = Database(settings.database_url.get_secret_value())
    await db.open()

    def tell(committed: Committed) -> None:
        now = time.monotonic()
        for key in committed.keys:
            told.send((key, now))

    db.committed.append(tell)
    bus = Bus(settings)
    bus.listen(db, Inbox(db, handlers), "orders", topics=[SHIPMENT_EVENTS], group=group)
    await bus.start()
    await asyncio.Event().wait()
