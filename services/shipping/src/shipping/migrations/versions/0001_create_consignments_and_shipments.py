"""Create consignments and shipments, and the plumbing."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from shared.migrations import create_plumbing

revision = "0001"
down_revision = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_plumbing()
    op.create_table(
        "consignments",
        sa.Column("order_id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("order_number", sa.Text, nullable=False),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("partner_id", sa.Text),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("address", JSONB, nullable=False),
        sa.Column("lines", JSONB, nullable=False),
        sa.Column("placed_at", _TIME, nullable=False),
        sa.Column("paid_at", _TIME),
        sa.Column("cancelled_at", _TIME),
    )
    op.create_table(
        "shipments",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("partner_id", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("lines", JSONB, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        *_label_columns(),
        sa.Column("checkpoints", JSONB, nullable=False),
        sa.Column("staff_case", sa.Text),
        sa.Column("failure_reason", sa.Text),
        sa.Column("prepared_at", _TIME, nullable=False),
        *(sa.Column(f"{step}_at", _TIME) for step in ("labelled", "dispatched", "delivered")),
        *(sa.Column(f"{step}_at", _TIME) for step in ("returned", "failed", "voided")),
        sa.CheckConstraint(
            "status IN ('PREPARED', 'LABELLED', 'DISPATCHED', 'DELIVERED', 'RETURNED', 'FAILED', 'VOIDED')",
            name="shipments_status_known",
        ),
        sa.CheckConstraint(
            "label IN ('NONE', 'REQUESTED', 'RATED', 'BOUGHT', 'REFUNDING', 'REFUNDED', 'FAILED')",
            name="shipments_label_known",
        ),
    )
    op.create_index("shipments_order_id", "shipments", ["order_id"])
    op.create_index(
        "shipments_tracking_number",
        "shipments",
        ["tracking_number"],
        postgresql_where=sa.text("tracking_number IS NOT NULL"),
    )


def _label_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("asked_service", sa.Text),
        sa.Column("rate_id", sa.Text),
        sa.Column("rated_at", _TIME),
        sa.Column("transaction_id", sa.Text),
        sa.Column("carrier", sa.Text),
        sa.Column("service", sa.Text),
        sa.Column("cost", sa.BigInteger),
        sa.Column("currency", sa.Text),
        sa.Column("tracking_number", sa.Text),
        sa.Column("tracking_url", sa.Text),
        sa.Column("label_url", sa.Text),
    ]
