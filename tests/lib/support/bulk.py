"""Orders by the hundred thousand, as a shop has them after a year: made by the database itself from one order's row.

The same number is always the same order. A customer has three orders, of a status there are as many as of a shop that is well.
"""

from dataclasses import dataclass
from datetime import timedelta

import orjson

from orders.store import ORDERS
from shared.db import Connection, Database
from shared.mapping import recordset
from support.orders import NOW, an_order

DAYS = 400
FIRST = NOW - timedelta(days=DAYS)
AT_ONCE = 50_000
_STATUS = """CASE WHEN h < 20 THEN 'PENDING' WHEN h < 50 THEN 'PROCESSING' WHEN h < 100 THEN 'SHIPPED' WHEN h < 900 THEN 'DELIVERED'
    WHEN h < 960 THEN 'CANCELLED' WHEN h < 980 THEN 'RETURNED' ELSE 'REFUNDED' END"""
_PAYMENT = """CASE WHEN h < 15 THEN 'PENDING' WHEN h < 20 THEN 'FAILED' WHEN h < 900 THEN CASE k % 4 WHEN 0 THEN 'COMPLETED' ELSE 'PAID' END
    WHEN h < 930 THEN 'PENDING' WHEN h < 970 THEN 'REFUNDED' ELSE CASE k % 2 WHEN 0 THEN 'PAID' ELSE 'REFUNDED' END END"""
_HOLD = """jsonb_build_array(jsonb_build_object('id', md5('hold' || n)::uuid, 'reason', 'fraud?', 'held_at', at, 'held_by', 'staff:sam',
    'way_out', 'RELEASE', 'deadline', NULL, 'released_at', NULL))"""
_SHIPPED = "(h >= 50 AND h < 900 OR h >= 960)"
_SHIPMENT = """jsonb_build_array(jsonb_build_object('id', md5('shipment' || n)::uuid, 'stage', 'DISPATCHED', 'cost', 500,
    'lines', jsonb_build_object('1', 2, '2', 1)))"""
_CHANGED = {
    "id": "md5('order' || n)::uuid",
    "order_number": "'ORD-' || to_char(at, 'YYYYMMDD') || '-' || lpad(n::text, greatest(5, length(n::text)), '0')",
    "customer_id": "md5('customer' || n / 3)::uuid",
    "status": _STATUS,
    "payment_status": _PAYMENT,
    "order_type": "CASE WHEN k < 900 THEN 'REGULAR' WHEN k < 950 THEN 'PRE_ORDER' ELSE 'MIXED' END",
    "total": "1000 + k * 97",
    "captured": "CASE WHEN h >= 20 AND h < 930 THEN 1000 + k * 97 ELSE 0 END",
    "created_at": "at",
    "updated_at": "at",
    "payment_intent_id": "'pi_' || n",
    "refund_failed": "h >= 930 AND h < 932",
    "holds": f"CASE WHEN h >= 20 AND h < 23 THEN {_HOLD} ELSE '[]'::jsonb END",
    "shipments": f"CASE WHEN {_SHIPPED} THEN {_SHIPMENT} ELSE '[]'::jsonb END",
    "shipping_carrier": f"CASE WHEN {_SHIPPED} THEN CASE k % 3 WHEN 0 THEN 'UPS' ELSE 'USPS' END END",
    "shipping_service": f"CASE WHEN {_SHIPPED} THEN CASE k % 3 WHEN 0 THEN 'Ground' ELSE CASE k % 2 WHEN 0 THEN 'Priority' ELSE 'Express' END END END",
    "tracking": f"CASE WHEN {_SHIPPED} THEN '94' || lpad((n::bigint * 7919 % 100000000)::text, 8, '0') || n END",
}
_HASHED = """SELECT n, abs(hashint4(n)) % 1000 AS h, abs(hashint4(n + 77777777)) % 1000 AS k,
    $1::timestamptz + (n - 1) * ($2::interval / $3::int) AS at FROM generate_series($4::int, $5::int) AS n"""
NAMES = "(ARRAY['Ada', 'Ben', 'Cleo', 'Dov', 'Eve', 'Finn', 'Gus', 'Hal'])[1 + n % 8] || ' ' || initcap(substr(md5('name' || n), 1, 7))"
_CUSTOMERS = f"""INSERT INTO customers (id, name, email, phone, updated_at)
SELECT md5('customer' || n)::uuid, {NAMES}, substr(md5('name' || n), 1, 7) || n || '@example.com',
    '+1' || lpad((n::bigint * 7654321 % 10000000000)::text, 10, '0'), $1 FROM generate_series(0, $2::int / 3) AS n"""  # noqa: S608 - constants of this module


@dataclass(frozen=True)
class Known:
    """What the order with this number is called."""

    order_number: str
    tracking: str
    name: str
    email: str
    phone: str


async def fill(db: Database, count: int) -> None:
    """`count` orders over DAYS, and their customers."""
    conn = await db.direct()
    try:
        await conn.execute("SET synchronous_commit = off")
        await conn.execute(_CUSTOMERS, NOW, count)
        await conn.execute("CREATE TEMP TABLE template (LIKE orders)")
        template = orjson.dumps(orjson.loads(recordset([an_order()]))[0]).decode()
        await conn.execute(
            "INSERT INTO template SELECT * FROM json_populate_record(NULL::orders, $1::json)", template
        )
        for first in range(1, count + 1, AT_ONCE):
            await _orders(conn, count, first, min(first + AT_ONCE - 1, count))
    finally:
        await conn.close()
    await vacuumed(db, "orders", "customers", "order_deltas")


async def vacuumed(db: Database, *tables: str) -> None:
    """With the planner's statistics and no dead rows, as autovacuum would have them by and by."""
    conn = await db.direct()
    try:
        # VACUUM marks no page whose commit is not on disk yet, and without the mark no index is enough by itself.
        await conn.execute("SET synchronous_commit = on")
        await conn.execute("SELECT pg_logical_emit_message(true, 'bulk', 'written')")
        for table in tables:
            await conn.execute(f"VACUUM ANALYZE {table}")
    finally:
        await conn.close()


async def _orders(conn: Connection, count: int, first: int, last: int) -> None:
    columns = ", ".join(f'"{name}"' for name in ORDERS.columns)
    values = ", ".join(_CHANGED.get(name, f't."{name}"') for name in ORDERS.columns)
    await conn.execute(
        f"INSERT INTO orders ({columns}) SELECT {values} FROM ({_HASHED}) AS made, template AS t",  # noqa: S608 - likewise
        FIRST,
        timedelta(days=DAYS),
        count,
        first,
        last,
    )


async def known(db: Database, number: int) -> Known:
    """Of an order that was shipped, the first from this number on."""
    async with db.connection() as conn:
        row = await conn.fetchrow(
            "SELECT order_number, tracking, name, email, phone FROM orders JOIN customers AS c ON c.id = customer_id"
            " WHERE tracking IS NOT NULL AND created_at >= $1 ORDER BY created_at LIMIT 1",
            (
                await conn.fetchval(
                    "SELECT created_at FROM orders WHERE id = md5('order' || $1::text)::uuid", str(number)
                )
            ),
        )
    assert row is not None
    return Known(**dict(row))
