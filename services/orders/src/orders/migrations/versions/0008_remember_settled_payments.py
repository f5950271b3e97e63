"""When an order's money became available to us: a refund that is sent back finds it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("orders", sa.Column("settled_at", sa.DateTime(timezone=True)))
