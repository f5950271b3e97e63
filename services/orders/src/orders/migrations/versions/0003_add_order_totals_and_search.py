"""Lists by any filter, search, and totals that triggers keep: the release before writes them too, without knowing of them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_CELL = "currency, status, payment_status, order_type"
_FIGURES = ("orders", "paid_orders", "captured", "refunded")
_SEARCHED = "((((name || chr(10)) || coalesce(email, '')) || chr(10)) || coalesce(phone, ''))"
_INDEXES = f"""
DROP INDEX orders_order_number;
CREATE UNIQUE INDEX orders_order_number ON orders (order_number text_pattern_ops);
CREATE INDEX orders_sequence_number ON orders (ltrim(split_part(order_number, '-', 3), '0'));
CREATE INDEX orders_newest ON orders (status, payment_status, order_type, created_at DESC, id DESC);
CREATE INDEX orders_largest ON orders (status, payment_status, order_type, total DESC, id DESC);
DROP INDEX orders_shipping_carrier;
CREATE INDEX orders_shipping_carrier ON orders (shipping_carrier, created_at DESC, id DESC)
    WHERE shipping_carrier IS NOT NULL;
CREATE INDEX orders_shipping_service ON orders (shipping_service, created_at DESC, id DESC)
    WHERE shipping_service IS NOT NULL;
DROP INDEX orders_tracking;
CREATE INDEX orders_tracking ON orders (tracking text_pattern_ops) WHERE tracking IS NOT NULL;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX customers_searched ON customers USING gin ({_SEARCHED} gin_trgm_ops)
"""
# An order is of a day, a currency, a status...; a change takes its figures away there and brings them here.
_COUNTED = f"(created_at AT TIME ZONE 'UTC')::date AS day, {_CELL}"
_NOW = "1 AS orders, (captured > 0)::int AS paid_orders, captured, refunded"
_BEFORE = "-1 AS orders, -(captured > 0)::int AS paid_orders, -captured AS captured, -refunded AS refunded"
_SUMS = ", ".join(f"sum({name}) AS {name}" for name in _FIGURES)
_TRIGGER = f"""
CREATE FUNCTION count_orders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO order_deltas (day, {_CELL}, {", ".join(_FIGURES)})
        SELECT day, {_CELL}, {_SUMS} FROM (SELECT {_COUNTED}, {_NOW} FROM after) AS c GROUP BY day, {_CELL};
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO order_deltas (day, {_CELL}, {", ".join(_FIGURES)})
        SELECT day, {_CELL}, {_SUMS} FROM (SELECT {_COUNTED}, {_BEFORE} FROM before) AS c GROUP BY day, {_CELL};
    ELSE
        INSERT INTO order_deltas (day, {_CELL}, {", ".join(_FIGURES)})
        SELECT day, {_CELL}, {_SUMS}
        FROM (SELECT {_COUNTED}, {_BEFORE} FROM before UNION ALL SELECT {_COUNTED}, {_NOW} FROM after) AS c
        GROUP BY day, {_CELL} HAVING {" OR ".join(f"sum({name}) <> 0" for name in _FIGURES)};
    END IF;
    RETURN NULL;
END $$
"""  # noqa: S608 - constants of this module
_TRIGGERS = """
CREATE TRIGGER orders_counted_in AFTER INSERT ON orders REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION count_orders();
CREATE TRIGGER orders_counted_again AFTER UPDATE ON orders REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION count_orders();
CREATE TRIGGER orders_counted_out AFTER DELETE ON orders REFERENCING OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION count_orders()
"""
_DAYS = f"INSERT INTO order_days SELECT day, {_CELL}, {_SUMS} FROM (SELECT {_COUNTED}, {_NOW} FROM orders) AS c GROUP BY day, {_CELL}"  # noqa: S608 - likewise
_TOTALS = f"INSERT INTO order_totals SELECT {_CELL}, {_SUMS} FROM order_days GROUP BY {_CELL}"  # noqa: S608 - likewise


def upgrade() -> None:
    """The triggers' lock keeps orders from changing until the commit, so that what there is already is counted exactly once."""
    _create_totals()
    for statement in _INDEXES.split(";"):
        op.execute(sa.text(statement))
    op.execute(sa.text(_TRIGGER.replace(":", "\\:")))
    for statement in _TRIGGERS.split(";"):
        op.execute(sa.text(statement))
    op.execute(sa.text(_DAYS.replace(":", "\\:")))
    op.execute(sa.text(_TOTALS))


def _create_totals() -> None:
    def cell(*, primary_key: bool) -> list[sa.Column[str]]:
        return [
            sa.Column(name, sa.Text, primary_key=primary_key, nullable=False) for name in _CELL.split(", ")
        ]

    def figures() -> list[sa.Column[int]]:
        return [sa.Column(name, sa.BigInteger, nullable=False) for name in _FIGURES]

    op.create_table("order_totals", *cell(primary_key=True), *figures())
    op.create_table(
        "order_days", sa.Column("day", sa.Date, primary_key=True), *cell(primary_key=True), *figures()
    )
    op.create_table(
        "order_deltas",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("day", sa.Date, nullable=False),
        *cell(primary_key=False),
        *figures(),
    )
