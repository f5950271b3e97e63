"""A carrier's and a service's orders by total; the totals of a range of days without a look at the orders."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_INDEXES = """
CREATE INDEX orders_carrier_largest ON orders (shipping_carrier, total DESC, id DESC) WHERE shipping_carrier IS NOT NULL;
CREATE INDEX orders_service_largest ON orders (shipping_service, total DESC, id DESC) WHERE shipping_service IS NOT NULL;
DROP INDEX orders_created_at;
CREATE INDEX orders_created_at ON orders (created_at DESC, id DESC) INCLUDE (total)
"""


def upgrade() -> None:
    for statement in _INDEXES.split(";"):
        op.execute(sa.text(statement))
