"""Adds up what the triggers on `orders` have written: small rows, many an hour, into few that a reader sums.

Reading never waits for it: `lists.store` reads sums and rows together. It keeps the rows few.
"""

import asyncio

import asyncpg
import structlog

from shared.db import RETRYABLE, UNAVAILABLE, Database, describe

log = structlog.get_logger(__name__)

EVERY_SECONDS = 2
MOST_AT_ONCE = 5_000
_LOCK = 0x726F6C6C7570  # "rollup": one replica at a time
_CELL = "currency, status, payment_status, order_type"
_FIGURES = ("orders", "paid_orders", "captured", "refunded")
_SUMS = ", ".join(f"sum({name})::bigint" for name in _FIGURES)


def _added(table: str, cell: str) -> str:
    more = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in _FIGURES)
    return (
        f"INSERT INTO {table} ({cell}, {', '.join(_FIGURES)}) SELECT {cell}, {_SUMS} FROM taken"  # noqa: S608 - constants of this module
        f" GROUP BY {cell} ON CONFLICT ({cell}) DO UPDATE SET {more}"
    )


_ROLL_UP = f"""
WITH taken AS (
    DELETE FROM order_deltas WHERE id = ANY(ARRAY(SELECT id FROM order_deltas ORDER BY id LIMIT $1)) RETURNING *
), by_day AS ({_added("order_days", f"day, {_CELL}")}), by_kind AS ({_added("order_totals", _CELL)})
SELECT count(*) FROM taken
"""  # noqa: S608 - constants of this module


async def run(db: Database) -> None:
    """Every EVERY_SECONDS, until cancelled."""
    while True:
        try:
            while await roll_up(db) == MOST_AT_ONCE:
                await asyncio.sleep(0)
        except (*UNAVAILABLE, *RETRYABLE, asyncpg.PostgresError) as error:
            log.warning("totals postponed", reason=describe(error))
        await asyncio.sleep(EVERY_SECONDS)


async def roll_up(db: Database) -> int:
    """How many rows were added up: MOST_AT_ONCE at most, none while another replica does it. Raises one of db.UNAVAILABLE or PostgresError."""
    async with db.transaction() as conn:
        if not await conn.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK):
            return 0
        taken: int = await conn.fetchval(_ROLL_UP, MOST_AT_ONCE)
    return taken
