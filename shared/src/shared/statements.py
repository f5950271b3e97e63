"""SQLAlchemy Core statements, as asyncpg takes them: a statement is compiled once per shape, its rows are named tuples.

A read by key costs 590 us through SQLAlchemy's engine and 130 through asyncpg (research/costs.md); what makes the difference is
not the compiler, whose work SQLAlchemy keeps by the statement's shape, but its engine. What is used of SQLAlchemy
here is in part private to it; the lock file pins it, and every store's test reads through them.
"""

from collections import namedtuple
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Executable, Select, any_, bindparam
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.util import LRUCache

Row = Any
"""A named tuple of the selected columns: `row.id`, `row[0]`, `row._asdict()`."""

_DIALECT = asyncpg.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped
_COMPILED: LRUCache[Any, Any] = LRUCache(512)


class Statement:
    """One that is written and compiled once, for what every request reads: to build it anew costs more than its query.

    It takes no lists of varying length: `one_of` takes them as an array.
    """

    def __init__(self, statement: Select[Any]) -> None:
        shape: Any = statement.compile(dialect=_DIALECT)
        if shape.post_compile_params or shape.literal_execute_params:
            raise ValueError(f"the text depends on its values: {shape.string}")
        self.text: str = shape.string
        self._names: Sequence[str] = shape.positiontup or ()
        self._encoders, self._constants = shape._bind_processors, shape.params  # noqa: SLF001 - see above

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        values = {**self._constants, **parameters}
        return [
            self._encoders[name](values[name]) if name in self._encoders else values[name]
            for name in self._names
        ]


def one_of(column: ColumnElement[Any], name: str = "ids") -> ColumnElement[bool]:
    """The column has one of the values of the parameter `name`."""
    return column == any_(bindparam(name, type_=ARRAY(column.type)))


def compiled(
    statement: Executable | Statement, parameters: Mapping[str, Any] | None
) -> tuple[str, list[Any]]:
    """The statement's text, and its arguments by position; `parameters` are for names that it leaves open."""
    if isinstance(statement, Statement):
        return statement.text, statement.arguments(parameters or {})
    shape: Any
    shape, extracted, collected, _ = statement._compile_w_cache(  # noqa: SLF001 - see above
        _DIALECT, compiled_cache=_COMPILED, column_keys=[]
    )
    values = shape.construct_params(
        parameters, extracted_parameters=extracted, escape_names=False, _collected_params=collected
    )
    text, names, encoders = shape.string, shape.positiontup, shape._bind_processors  # noqa: SLF001 - see above
    if shape.post_compile_params or shape.literal_execute_params:
        expanded = shape._process_parameters_for_postcompile(values)  # noqa: SLF001 - see above
        text, names, values = expanded.statement, expanded.positiontup, expanded.parameters
        encoders = {**encoders, **expanded.processors}
    return text, [encoders[name](values[name]) if name in encoders else values[name] for name in names or ()]


def rows(records: Sequence[Any]) -> list[Row]:
    """The driver's records as named tuples."""
    if not records:
        return []
    return list(map(_row(tuple(records[0].keys()))._make, records))


@cache
def _row(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names, rename=True)  # noqa: PYI024 - its names are known at run time only
