"""The tables of shipping. Costs in minor units (bigint), weights in grams, times timestamptz."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

_STATUSES = "'PREPARED', 'LABELLED', 'DISPATCHED', 'DELIVERED', 'RETURNED', 'FAILED', 'VOIDED'"
_LABELS = "'NONE', 'REQUESTED', 'RATED', 'BOUGHT', 'REFUNDING', 'REFUNDED', 'FAILED'"
_TIME = DateTime(timezone=True)

consignments = Table(
    "consignments",
    metadata,
    Column("order_id", Uuid, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("order_number", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("partner_id", Text),
    Column("currency", Text, nullable=False),
    Column("address", JSONB, nullable=False),
    Column("lines", JSONB, nullable=False),
    Column("placed_at", _TIME, nullable=False),
    Column("paid_at", _TIME),
    Column("cancelled_at", _TIME),
    Column("shipping_rate_id", Text),
    Column("shipping_service", Text),
    Column("holds", JSONB, nullable=False, server_default="[]"),
    Column("released", JSONB, nullable=False, server_default="[]"),
)

skus = Table(
    "skus",
    metadata,
    Column("id", Text, primary_key=True),
    Column("weight_grams", BigInteger, nullable=False),
    Column("updated_at", _TIME, nullable=False),
)

shipments = Table(
    "shipments",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("order_id", Uuid, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("partner_id", Text),
    Column("status", Text, nullable=False),
    Column("lines", JSONB, nullable=False),
    Column("label", Text, nullable=False),
    Column("asked_service", Text),
    Column("rate_id", Text),
    Column("rated_at", _TIME),
    Column("transaction_id", Text),
    Column("carrier", Text),
    Column("service", Text),
    Column("cost", BigInteger),
    Column("currency", Text),
    Column("tracking_number", Text),
    Column("tracking_url", Text),
    Column("label_url", Text),
    Column("checkpoints", JSONB, nullable=False),
    Column("staff_case", Text),
    Column("failure_reason", Text),
    Column("prepared_at", _TIME, nullable=False),
    Column("labelled_at", _TIME),
    Column("dispatched_at", _TIME),
    Column("delivered_at", _TIME),
    Column("returned_at", _TIME),
    Column("failed_at", _TIME),
    Column("voided_at", _TIME),
    Column("provider_shipment_id", Text),
    CheckConstraint(f"status IN ({_STATUSES})", name="shipments_status_known"),
    CheckConstraint(f"label IN ({_LABELS})", name="shipments_label_known"),
    Index("shipments_order_id", "order_id"),
    Index(
        "shipments_tracking_number",
        "tracking_number",
        postgresql_where=text("tracking_number IS NOT NULL"),
    ),
)
