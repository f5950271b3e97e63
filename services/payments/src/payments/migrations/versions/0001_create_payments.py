"""Payments, refunds, and the plumbing's tables."""

import sqlalchemy as sa
from alembic import op

from shared.migrations import create_plumbing

revision = "0001"
down_revision = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_plumbing()
    _create_payments()
    op.create_table(
        "refunds",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("order_id", sa.Uuid, sa.ForeignKey("payments.order_id"), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("provider_refund_id", sa.Text),
        sa.Column("failure_code", sa.Text),
        sa.Column("created_at", _TIME, nullable=False),
        sa.CheckConstraint(
            "status IN ('REQUESTED', 'PENDING', 'SUCCEEDED', 'FAILED', 'EXTERNAL_DUE')",
            name="refunds_status_known",
        ),
    )
    op.create_index("refunds_order_id", "refunds", ["order_id", "id"])


def _create_payments() -> None:
    op.create_table(
        "payments",
        sa.Column("order_id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("order_number", sa.Text, nullable=False),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("partner_id", sa.Text),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("captured_amount", sa.BigInteger, nullable=False),
        sa.Column("refunded_amount", sa.BigInteger, nullable=False),
        sa.Column("fee", sa.BigInteger),
        sa.Column("fee_currency", sa.Text),
        sa.Column("payment_intent_id", sa.Text),
        sa.Column("client_secret", sa.Text),
        sa.Column("charge_id", sa.Text),
        sa.Column("failure_code", sa.Text),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("attempted_at", _TIME),
        sa.Column("captured_at", _TIME),
        sa.CheckConstraint(
            "status IN ('REQUESTED', 'READY', 'PROCESSING', 'EXTERNAL', 'CANCELLING', 'FAILED', 'CANCELLED',"
            " 'CAPTURED')",
            name="payments_status_known",
        ),
        sa.CheckConstraint(
            "refunded_amount BETWEEN 0 AND captured_amount", name="payments_refunded_within_captured"
        ),
    )
    op.create_index("payments_payment_intent_id", "payments", ["payment_intent_id"], unique=True)
