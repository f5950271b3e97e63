"""Discount codes, and whether an order took one of a code's limited uses."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """The defaults are for the release before, and for a code that is saved while orders count its uses."""
    op.create_table(
        "discount_codes",
        sa.Column("code", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("minimum", sa.BigInteger, nullable=False),
        sa.Column("starts_at", _TIME),
        sa.Column("ends_at", _TIME),
        sa.Column("max_uses", sa.Integer),
        sa.Column("uses", sa.Integer, nullable=False, server_default="0"),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.CheckConstraint("kind IN ('PERCENT', 'AMOUNT')", name="discount_codes_kind_known"),
    )
    op.add_column("orders", sa.Column("discount_counted", sa.Boolean, nullable=False, server_default="false"))
