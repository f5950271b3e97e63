"""What a shipment's rate was made for, by the provider's id."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("shipments", sa.Column("provider_shipment_id", sa.Text))
