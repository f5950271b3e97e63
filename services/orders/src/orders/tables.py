"""The tables of orders. Money in minor units (bigint), times timestamptz; what is searched has an index of its own."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    MetaData,
    Sequence,
    Table,
    Text,
    Uuid,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

_STATUSES = "'PENDING', 'PROCESSING', 'SHIPPED', 'DELIVERED', 'CANCELLED', 'RETURNED', 'REFUNDED'"
_PAYMENT_STATUSES = "'PENDING', 'PAID', 'COMPLETED', 'FAILED', 'REFUNDED'"
_TIME = DateTime(timezone=True)
_CELL = ("status", "payment_status", "order_type")
ON_HOLD = """holds @> '[{"released_at": null}]'"""
"""As PostgreSQL has to be asked, for it to take the indexes of those that are."""
_PREFIX = "text_pattern_ops"  # serves LIKE 'x%' in any collation, and equality

order_numbers = Sequence("order_numbers", metadata=metadata)


def _waiting(name: str, condition: str) -> tuple[Index, Index]:
    """Of those that wait for staff, the newest and the largest."""
    where = text(condition)
    newest = Index(name, text("created_at DESC"), text("id DESC"), postgresql_where=where)
    return newest, Index(f"{name}_largest", text("total DESC"), text("id DESC"), postgresql_where=where)


orders = Table(
    "orders",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("order_number", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("partner_id", Text),
    Column("status", Text, nullable=False),
    Column("payment_status", Text, nullable=False),
    Column("order_type", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("lines", JSONB, nullable=False),
    Column("shipments", JSONB, nullable=False),
    Column("refunds", JSONB, nullable=False),
    Column("shipping_address", JSONB, nullable=False),
    Column("billing_address", JSONB, nullable=False),
    Column("subtotal", BigInteger, nullable=False),
    Column("shipping", BigInteger, nullable=False),
    Column("tax", BigInteger, nullable=False),
    Column("discount", BigInteger, nullable=False),
    Column("platform_fee", BigInteger, nullable=False),
    Column("stripe_fee", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("captured", BigInteger, nullable=False),
    Column("refunded", BigInteger, nullable=False),
    Column("payment_method", Text, nullable=False),
    Column("created_at", _TIME, nullable=False),
    Column("updated_at", _TIME, nullable=False),
    Column("payment_intent_id", Text),
    Column("payment_processing", Boolean, nullable=False),
    Column("tracking", Text),
    Column("tracking_url", Text),
    Column("shipping_carrier", Text),
    Column("shipping_service", Text),
    Column("shippo_shipment_id", Text),
    Column("shippo_rate_id", Text),
    Column("shippo_label_url", Text),
    Column("estimated_fulfillment_date", _TIME),
    Column("flat_rate_charged", BigInteger),
    Column("actual_shipping_cost", BigInteger),
    Column("used_flat_rate", Boolean, nullable=False),
    Column("delivery_speed_selected", Text),
    Column("delivery_deadline", _TIME),
    Column("paid_at", _TIME),
    Column("shipped_at", _TIME),
    Column("delivered_at", _TIME),
    Column("returned_at", _TIME),
    Column("cancelled_at", _TIME),
    Column("cancel_reason", Text),
    Column("notes", Text),
    Column("metadata", JSONB),
    Column("channel", Text, nullable=False, server_default="STOREFRONT"),
    Column("holds", JSONB, nullable=False, server_default="[]"),
    Column("discount_code", Text),
    Column("discount_counted", Boolean, nullable=False, server_default="false"),
    Column("earlier_trackings", JSONB, nullable=False, server_default="[]"),
    Column("settled_at", _TIME),
    Column("refund_failed", Boolean, nullable=False, server_default="false"),
    CheckConstraint(f"status IN ({_STATUSES})", name="orders_status_known"),
    CheckConstraint(f"payment_status IN ({_PAYMENT_STATUSES})", name="orders_payment_status_known"),
    CheckConstraint("order_type IN ('REGULAR', 'PRE_ORDER', 'MIXED')", name="orders_type_known"),
    CheckConstraint("refunded <= captured", name="orders_refunded_within_captured"),
    Index("orders_order_number", "order_number", unique=True, postgresql_ops={"order_number": _PREFIX}),
    Index("orders_sequence_number", text("ltrim(split_part(order_number, '-', 3), '0')")),
    Index("orders_customer_id", "customer_id", text("created_at DESC"), text("id DESC")),
    Index("orders_status", "status", text("created_at DESC"), text("id DESC")),
    Index("orders_payment_status", "payment_status", text("created_at DESC"), text("id DESC")),
    Index("orders_created_at", text("created_at DESC"), text("id DESC"), postgresql_include=["total"]),
    Index("orders_order_type", "order_type", text("created_at DESC"), text("id DESC")),
    # Every combination of the three is a handful of ranges of these, whatever the sort (`lists.store`).
    Index("orders_newest", *_CELL, text("created_at DESC"), text("id DESC")),
    Index("orders_largest", *_CELL, text("total DESC"), text("id DESC")),
    # What has not been shipped yet has none of them, and costs these indexes nothing.
    Index(
        "orders_shipping_carrier",
        "shipping_carrier",
        text("created_at DESC"),
        text("id DESC"),
        postgresql_where=text("shipping_carrier IS NOT NULL"),
    ),
    Index(
        "orders_shipping_service",
        "shipping_service",
        text("created_at DESC"),
        text("id DESC"),
        postgresql_where=text("shipping_service IS NOT NULL"),
    ),
    Index(
        "orders_carrier_largest",
        "shipping_carrier",
        text("total DESC"),
        text("id DESC"),
        postgresql_where=text("shipping_carrier IS NOT NULL"),
    ),
    Index(
        "orders_service_largest",
        "shipping_service",
        text("total DESC"),
        text("id DESC"),
        postgresql_where=text("shipping_service IS NOT NULL"),
    ),
    Index(
        "orders_tracking",
        "tracking",
        postgresql_ops={"tracking": _PREFIX},
        postgresql_where=text("tracking IS NOT NULL"),
    ),
    # Only those that left in several parcels have any.
    Index(
        "orders_earlier_trackings",
        "earlier_trackings",
        postgresql_using="gin",
        postgresql_where=text("earlier_trackings <> '[]'"),
    ),
    *_waiting("orders_held", ON_HOLD),
    *_waiting("orders_refund_failed", "refund_failed"),
    # What must not take long: nearly empty, and all that `overdue` reads. No index has `updated_at`, which every update changes:
    # PostgreSQL would have to write all of them anew each time.
    Index("orders_unshipped", "paid_at", postgresql_where=text("status = 'PROCESSING' AND shipments = '[]'")),
    Index("orders_payment_processing", "id", postgresql_where=text("payment_processing")),
    Index(
        "orders_refund_requested",
        "id",
        postgresql_where=text("""refunds @> '[{"status": "REQUESTED"}]'"""),
    ),
)

customers = Table(
    "customers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("issuer", Text),
    Column("subject", Text),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("phone", Text),
    Column("updated_at", _TIME, nullable=False),
)
SEARCHED = "(((name || chr(10)) || coalesce(email, '')) || chr(10)) || coalesce(phone, '')"
"""What a customer is found by: one text, so that one index finds any part of it. Nothing that is searched for has a line feed."""
Index(
    "customers_searched",
    literal_column(SEARCHED).label("searched"),
    postgresql_using="gin",
    postgresql_ops={"searched": "gin_trgm_ops"},
    _table=customers,
)

skus = Table(
    "skus",
    metadata,
    Column("id", Text, primary_key=True),
    Column("product_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("shipping_price", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("weight_grams", BigInteger, nullable=False),
    Column("available", Boolean, nullable=False),
    Column("updated_at", _TIME, nullable=False),
    Column("available_from", _TIME),
)

discount_codes = Table(
    "discount_codes",
    metadata,
    Column("code", Text, primary_key=True),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("kind", Text, nullable=False),
    Column("value", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("minimum", BigInteger, nullable=False),
    Column("starts_at", _TIME),
    Column("ends_at", _TIME),
    Column("max_uses", Integer),
    Column("uses", Integer, nullable=False, server_default="0"),
    Column("active", Boolean, nullable=False),
    Column("updated_at", _TIME, nullable=False),
    CheckConstraint("kind IN ('PERCENT', 'AMOUNT')", name="discount_codes_kind_known"),
)

timeline = Table(
    "timeline",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("order_id", Uuid, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("actor", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("from_status", Text, nullable=False),
    Column("to_status", Text, nullable=False),
    Column("why", Text, nullable=False),
    Index("timeline_order_id", "order_id", "id"),
)


def _figures() -> list[Column[int]]:
    """What is counted: orders, those with money captured, and the money in minor units. A delta's may be negative."""
    return [
        Column(name, BigInteger, nullable=False) for name in ("orders", "paid_orders", "captured", "refunded")
    ]


def _cell(*, primary_key: bool) -> list[Column[str]]:
    return [Column(name, Text, primary_key=primary_key, nullable=False) for name in ("currency", *_CELL)]


# How many orders there are of each kind, and their money: all of them, and by the day (UTC) on which they were placed. Triggers on
# `orders` write what changes into `order_deltas`, in the transaction that changes it; `lists.totals` adds that up.
order_totals = Table("order_totals", metadata, *_cell(primary_key=True), *_figures())
order_days = Table(
    "order_days", metadata, Column("day", Date, primary_key=True), *_cell(primary_key=True), *_figures()
)
order_series = Table(
    "order_series",
    metadata,
    Column("day", Date, primary_key=True),
    Column("currency", Text, primary_key=True),
    *_figures(),
)
"""A day's kinds together, for charts: a trigger on `order_days` keeps it."""
order_deltas = Table(
    "order_deltas",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("day", Date, nullable=False),
    *_cell(primary_key=False),
    *_figures(),
)
