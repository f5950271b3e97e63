"""Alembic's entry: all of it is in shared.migrations."""

from orders.tables import metadata
from shared.migrations import run

run(metadata)
