"""An order's holds and the offer that its shopper took; the weights of SKUs, for quotes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """The defaults are for the release before, which knows none of these columns."""
    for name in ("holds", "released"):
        op.add_column("consignments", sa.Column(name, JSONB, nullable=False, server_default="[]"))
    for name in ("shipping_rate_id", "shipping_service"):
        op.add_column("consignments", sa.Column(name, sa.Text))
    op.create_table(
        "skus",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("weight_grams", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    )
