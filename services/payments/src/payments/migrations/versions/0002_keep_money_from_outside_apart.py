"""Money that came from outside is kept apart from a card's; when it was handed back."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """The default is for the release before, which knows neither column."""
    op.add_column("payments", sa.Column("external_amount", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("refunds", sa.Column("handed_back_at", sa.DateTime(timezone=True)))
