"""Alembic's entry point."""

from shared.migrations import run
from shipping.tables import metadata

run(metadata)
