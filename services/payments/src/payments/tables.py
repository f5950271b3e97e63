"""The tables of payments. Money in minor units (bigint), times timestamptz, statuses as checked text."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
)

metadata = MetaData()

_STATUSES = "'REQUESTED', 'READY', 'PROCESSING', 'EXTERNAL', 'CANCELLING', 'FAILED', 'CANCELLED', 'CAPTURED'"
_REFUND_STATUSES = "'REQUESTED', 'PENDING', 'SUCCEEDED', 'FAILED', 'EXTERNAL_DUE'"
_TIME = DateTime(timezone=True)

payments = Table(
    "payments",
    metadata,
    Column("order_id", Uuid, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("order_number", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("partner_id", Text),
    Column("method", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("captured_amount", BigInteger, nullable=False),
    Column("refunded_amount", BigInteger, nullable=False),
    Column("fee", BigInteger),
    Column("fee_currency", Text),
    Column("payment_intent_id", Text),
    Column("client_secret", Text),
    Column("charge_id", Text),
    Column("failure_code", Text),
    Column("created_at", _TIME, nullable=False),
    Column("attempted_at", _TIME),
    Column("captured_at", _TIME),
    Column("external_amount", BigInteger, nullable=False, server_default="0"),
    Column("settled_at", _TIME),
    CheckConstraint(f"status IN ({_STATUSES})", name="payments_status_known"),
    CheckConstraint(
        "refunded_amount BETWEEN 0 AND captured_amount", name="payments_refunded_within_captured"
    ),
    Index("payments_payment_intent_id", "payment_intent_id", unique=True),
)

refunds = Table(
    "refunds",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("order_id", Uuid, ForeignKey("payments.order_id"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("provider_refund_id", Text),
    Column("failure_code", Text),
    Column("created_at", _TIME, nullable=False),
    Column("handed_back_at", _TIME),
    CheckConstraint(f"status IN ({_REFUND_STATUSES})", name="refunds_status_known"),
    Index("refunds_order_id", "order_id", "id"),
)
