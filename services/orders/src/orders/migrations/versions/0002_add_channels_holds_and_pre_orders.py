"""Who placed an order and where, its holds and its discount; when a SKU can be sent. Room for updates that touch no index."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """The defaults are for the release before, which knows none of these columns."""
    op.add_column("orders", sa.Column("channel", sa.Text, nullable=False, server_default="STOREFRONT"))
    op.add_column("orders", sa.Column("holds", JSONB, nullable=False, server_default="[]"))
    op.add_column("orders", sa.Column("discount_code", sa.Text))
    op.create_index(
        "orders_held",
        "orders",
        ["id"],
        postgresql_where=sa.text("""holds @> '[{"released_at": null}]'"""),
    )
    op.add_column("skus", sa.Column("available_from", sa.DateTime(timezone=True)))
    # An order's row is written some six times: with room in its page, what changes no indexed column writes no index (HOT).
    op.execute("ALTER TABLE orders SET (fillfactor = 60)")
    op.execute("ALTER TABLE jobs SET (fillfactor = 60)")
