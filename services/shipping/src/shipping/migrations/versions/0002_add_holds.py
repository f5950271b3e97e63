"""An order's holds: while one is open, no label is bought and nothing is handed over."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """The defaults are for the release before, which knows none of these columns."""
    for name in ("holds", "released"):
        op.add_column("consignments", sa.Column(name, JSONB, nullable=False, server_default="[]"))
