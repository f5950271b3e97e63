"""Orders, customers, SKUs, the timeline, and the plumbing's tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from shared.migrations import create_plumbing

revision = "0001"
down_revision = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_plumbing()
    op.execute("CREATE SEQUENCE order_numbers")
    _create_orders()
    op.create_table(
        "customers",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("issuer", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("email", sa.Text),
        sa.Column("phone", sa.Text),
        sa.Column("updated_at", _TIME, nullable=False),
    )
    op.create_table(
        "skus",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("product_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
        sa.Column("shipping_price", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("weight_grams", sa.BigInteger, nullable=False),
        sa.Column("available", sa.Boolean, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
    )
    op.create_table(
        "timeline",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("from_status", sa.Text, nullable=False),
        sa.Column("to_status", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
    )
    op.create_index("timeline_order_id", "timeline", ["order_id", "id"])


def _create_orders() -> None:
    def money(name: str, *, nullable: bool = False) -> sa.Column[int]:
        return sa.Column(name, sa.BigInteger, nullable=nullable)

    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("order_number", sa.Text, nullable=False),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("partner_id", sa.Text),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("status", "payment_status", "order_type", "currency", "payment_method")
        ),
        *(
            sa.Column(name, JSONB, nullable=False)
            for name in ("lines", "shipments", "refunds", "shipping_address", "billing_address")
        ),
        *map(
            money,
            (
                "subtotal",
                "shipping",
                "tax",
                "discount",
                "platform_fee",
                "stripe_fee",
                "total",
                "captured",
                "refunded",
            ),
        ),
        money("flat_rate_charged", nullable=True),
        money("actual_shipping_cost", nullable=True),
        sa.Column("used_flat_rate", sa.Boolean, nullable=False),
        sa.Column("payment_processing", sa.Boolean, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        *(
            sa.Column(name, sa.Text)
            for name in (
                "payment_intent_id",
                "tracking",
                "tracking_url",
                "shipping_carrier",
                "shipping_service",
                "shippo_shipment_id",
                "shippo_rate_id",
                "shippo_label_url",
                "delivery_speed_selected",
                "cancel_reason",
                "notes",
            )
        ),
        *(
            sa.Column(name, _TIME)
            for name in (
                "estimated_fulfillment_date",
                "delivery_deadline",
                "paid_at",
                "shipped_at",
                "delivered_at",
                "returned_at",
                "cancelled_at",
            )
        ),
        sa.Column("metadata", JSONB),
        sa.CheckConstraint(
            "status IN ('PENDING', 'PROCESSING', 'SHIPPED', 'DELIVERED', 'CANCELLED', 'RETURNED', 'REFUNDED')",
            name="orders_status_known",
        ),
        sa.CheckConstraint(
            "payment_status IN ('PENDING', 'PAID', 'COMPLETED', 'FAILED', 'REFUNDED')",
            name="orders_payment_status_known",
        ),
        sa.CheckConstraint("order_type IN ('REGULAR', 'PRE_ORDER', 'MIXED')", name="orders_type_known"),
        sa.CheckConstraint("refunded <= captured", name="orders_refunded_within_captured"),
    )
    op.create_index("orders_order_number", "orders", ["order_number"], unique=True)
    newest = [sa.text("created_at DESC"), sa.text("id DESC")]
    for column in ("customer_id", "status", "payment_status", "order_type"):
        op.create_index(f"orders_{column}", "orders", [column, *newest])
    op.create_index("orders_created_at", "orders", newest)
    op.create_index("orders_shipping_carrier", "orders", ["shipping_carrier"])
    op.create_index("orders_tracking", "orders", ["tracking"])
    for name, column, condition in (
        ("unshipped", "paid_at", "status = 'PROCESSING' AND shipments = '[]'"),
        ("payment_processing", "id", "payment_processing"),
        ("refund_requested", "id", """refunds @> '[{"status": "REQUESTED"}]'"""),
    ):
        op.create_index(f"orders_{name}", "orders", [column], postgresql_where=sa.text(condition))
