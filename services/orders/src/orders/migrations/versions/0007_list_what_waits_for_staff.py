"""The orders on hold, and those with a refund that failed, the newest first and the largest first."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_WAITING = {"orders_held": """holds @> '[{"released_at": null}]'""", "orders_refund_failed": "refund_failed"}


def upgrade() -> None:
    """Of the orders of before, some may have had their refund otherwise: they leave the list when they are next written."""
    failed = sa.Column("refund_failed", sa.Boolean, nullable=False, server_default="false")
    op.add_column("orders", failed)
    op.execute(
        """UPDATE orders SET refund_failed = true WHERE refunds @> '[{"status": "FAILED"}]' AND refunded < captured"""
    )
    op.execute("DROP INDEX orders_held")
    for name, condition in _WAITING.items():
        op.execute(f"CREATE INDEX {name} ON orders (created_at DESC, id DESC) WHERE {condition}")
        op.execute(f"CREATE INDEX {name}_largest ON orders (total DESC, id DESC) WHERE {condition}")
