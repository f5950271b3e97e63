"""The orders on hold, the newest first and the largest first."""

from alembic import op

revision = "0006"
down_revision = "0005"

_ON_HOLD = """holds @> '[{"released_at": null}]'"""


def upgrade() -> None:
    op.execute("DROP INDEX orders_held")
    op.execute(f"CREATE INDEX orders_held ON orders (created_at DESC, id DESC) WHERE {_ON_HOLD}")
    op.execute(f"CREATE INDEX orders_held_largest ON orders (total DESC, id DESC) WHERE {_ON_HOLD}")
