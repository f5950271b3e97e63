"""All numbers of an order's parcels; the figures of a day in one row, which a trigger keeps: the release before adds up only the rows
of its kinds.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"

_FIGURES = ("orders", "paid_orders", "captured", "refunded")
_MORE = ", ".join(f"{name} = order_series.{name} + excluded.{name}" for name in _FIGURES)
_SUMS = ", ".join(f"sum({name})" for name in _FIGURES)
_ADDED = f"""
        INSERT INTO order_series (day, currency, {", ".join(_FIGURES)})
        SELECT day, currency, {_SUMS} FROM {{changed}} AS c GROUP BY day, currency
        ON CONFLICT (day, currency) DO UPDATE SET {_MORE};"""  # noqa: S608 - constants of this module
_BOTH = f"""(
            SELECT day, currency, {", ".join(_FIGURES)} FROM after
            UNION ALL SELECT day, currency, {", ".join(f"-{name}" for name in _FIGURES)} FROM before
        )"""  # noqa: S608 - likewise
_TRIGGERS = f"""
CREATE FUNCTION add_to_order_series() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN {_ADDED.format(changed="after")}
    ELSE {_ADDED.format(changed=_BOTH)}
    END IF;
    RETURN NULL;
END $$;--
CREATE TRIGGER order_days_added AFTER INSERT ON order_days REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION add_to_order_series();--
CREATE TRIGGER order_days_added_to AFTER UPDATE ON order_days REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION add_to_order_series();--
INSERT INTO order_series SELECT day, currency, {_SUMS} FROM order_days GROUP BY day, currency
"""  # noqa: S608 - likewise


def upgrade() -> None:
    """The triggers' lock keeps `order_days` from changing until the commit: what there is already is added exactly once."""
    op.create_table(
        "order_series",
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("currency", sa.Text, primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _FIGURES),
    )
    for statement in _TRIGGERS.split("--"):
        op.execute(sa.text(statement))
    op.add_column("orders", sa.Column("earlier_trackings", JSONB, nullable=False, server_default="[]"))
    op.execute(
        "CREATE INDEX orders_earlier_trackings ON orders USING gin (earlier_trackings) WHERE earlier_trackings <> '[]'"
    )
