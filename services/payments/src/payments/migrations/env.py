"""Alembic's entry: all of it is in shared.migrations."""

from payments.tables import metadata
from shared.migrations import run

run(metadata)
