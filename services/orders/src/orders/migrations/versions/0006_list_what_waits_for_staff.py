"""The orders on hold, and those whose refund failed, the newest first and the largest first."""

from alembic import op

revision = "0006"
down_revision = "0005"

_WAITING = {
    "orders_held": """holds @> '[{"released_at": null}]'""",
    "orders_refund_failed": """refunds @> '[{"status": "FAILED", "followed": false}]'""",
}


def upgrade() -> None:
    op.execute("DROP INDEX orders_held")
    for name, condition in _WAITING.items():
        op.execute(f"CREATE INDEX {name} ON orders (created_at DESC, id DESC) WHERE {condition}")
        op.execute(f"CREATE INDEX {name}_largest ON orders (total DESC, id DESC) WHERE {condition}")
