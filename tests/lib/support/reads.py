"""What a service reads from its database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shared.db import Database


@contextmanager
def reads(db: Database) -> Iterator[list[str]]:
    """The statements that are read through `db` meanwhile."""
    seen: list[str] = []
    fetch = db.fetch

    async def noted(statement: Any, parameters: Any = None) -> Any:
        seen.append(str(statement))
        return await fetch(statement, parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db, "fetch", noted)
        yield seen
