"""Between a table and a frozen dataclass: which column holds which field, and the SQL that moves many rows at once.

Fields and columns carry the same names. Every write is one statement over arrays (`unnest`), however many rows it moves:
research/costs.md measured that shape ten times cheaper than a statement per row.
"""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as Dict
from dataclasses import fields
from functools import cache
from sys import intern
from typing import Any, Generic, TypeVar, cast

import orjson
from sqlalchemy import ARRAY, Column, Table
from sqlalchemy.dialects import postgresql

T = TypeVar("T")
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped


class Mapping(Generic[T]):
    """How `entity` lives in `table`: identified by `key`, locked and loaded by `owner` (default: by its key).

    Children (shipments of an order) name their parent's column as `owner`: they are loaded with it, under its lock.
    `decode` turns a column's value into the field's; JSON columns take anything that orjson can dump.
    """

    def __init__(
        self,
        table: Table,
        entity: type[T],
        *,
        key: str = "id",
        owner: str | None = None,
        decode: Dict[str, Callable[[Any], Any]] | None = None,
    ) -> None:
        self.table, self.entity, self.key, self.owner = table, entity, key, owner or key
        self.decode = dict(decode or {})
        # Interned, since Python finds a parameter by its name's identity and else compares it with one after the other: an
        # order's 49 columns cost 9 us instead of 40.
        self.columns = tuple(intern(str(column.name)) for column in table.columns)
        # The columns ever seen to change. An update writes all of them, so that its text stays the same: a text is planned
        # once per connection, and one for every set that a batch may touch would be planned time and again.
        self.changing: set[str] = set()
        names = ", ".join(f'"{name}"' for name in self.columns)
        self.lock_sql = (
            f'SELECT {names} FROM {table.name} WHERE "{self.owner}" = ANY($1::{_cast(table.c[self.owner])}[])'  # noqa: S608 - names come from our own Table objects
            f' ORDER BY "{key}" FOR UPDATE'
        )

    def entity_of(self, row: Dict[str, Any]) -> T:
        return self._entity({name: row[name] for name in self.columns})

    def entity_of_values(self, values: Iterable[Any]) -> T:
        """From a row that holds the table's columns in their order, and nothing else."""
        return self._entity(dict(zip(self.columns, values, strict=True)))

    def _entity(self, values: dict[str, Any]) -> T:
        for column, decode in self.decode.items():
            if values[column] is not None:
                values[column] = decode(values[column])
        return self.entity(**values)

    def key_of(self, entity: T) -> str:
        return str(getattr(entity, self.key))

    def owner_of(self, entity: T) -> str:
        return str(getattr(entity, self.owner))

    def changed(self, before: T, after: T) -> set[str]:
        return {name for name in self.columns if getattr(before, name) is not getattr(after, name)
                and getattr(before, name) != getattr(after, name)}  # fmt: skip


def decoder(entity: type[T]) -> Callable[[Dict[str, Any]], T]:
    """From a JSON object to the dataclass, by position: half the price of matching names that are fresh from JSON."""
    names = [field.name for field in fields(cast("Any", entity))]

    def decode(raw: Dict[str, Any]) -> T:
        try:
            values = [raw[name] for name in names]
        except KeyError:  # written before the dataclass had a field, which then has a default
            return entity(**raw)
        return entity(*values)

    return decode


def arrays(table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """The rows, transposed into one array per column, as asyncpg takes them."""
    encoders = [_encoder(table.c[name]) for name in columns]
    transposed: list[list[Any]] = [[] for _ in columns]
    for row in rows:
        for target, encode, value in zip(transposed, encoders, row, strict=True):
            target.append(value if encode is None or value is None else encode(value))
    return transposed


@cache
def insert_sql(table: Table, columns: tuple[str, ...], suffix: str = "") -> str:
    """INSERT of many rows, in the given order; `suffix` is an ON CONFLICT clause."""
    targets = ", ".join(f'"{name}"' for name in columns)
    return (
        f"INSERT INTO {table.name} ({targets}) SELECT {_values(table, columns)} FROM {_unnest(table, columns)}"  # noqa: S608 - names come from our own Table objects
        f" ORDER BY u.n {suffix}"
    )


@cache
def update_sql(table: Table, key: str, columns: tuple[str, ...]) -> str:
    """UPDATE of many rows by key and the version they were read at; parameters: key, version, then the columns."""
    every = (key, "version", *columns)
    changes = ", ".join(f'"{name}" = {_value(table.c[name])}' for name in columns)
    return (
        f'UPDATE {table.name} AS t SET "version" = t."version" + 1, {changes} FROM {_unnest(table, every)}'  # noqa: S608 - names come from our own Table objects
        f' WHERE t."{key}" = u."{key}" AND t."version" = u."version"'
    )


def _unnest(table: Table, columns: Sequence[str]) -> str:
    parameters = ", ".join(f"${n}::{_wire_type(table.c[name])}[]" for n, name in enumerate(columns, 1))
    names = ", ".join(f'"{name}"' for name in columns)
    return f"unnest({parameters}) WITH ORDINALITY AS u({names}, n)"


def _values(table: Table, columns: Sequence[str]) -> str:
    return ", ".join(_value(table.c[name]) for name in columns)


def _value(column: Column[Any]) -> str:
    """JSON and array columns travel as text: unnest would flatten an array of arrays."""
    return f'u."{column.name}"::{_cast(column)}' if _travels_as_text(column) else f'u."{column.name}"'


def _wire_type(column: Column[Any]) -> str:
    return "text" if _travels_as_text(column) else _cast(column)


def _travels_as_text(column: Column[Any]) -> bool:
    return isinstance(column.type, postgresql.JSONB | ARRAY)


def _encoder(column: Column[Any]) -> Callable[[Any], Any] | None:
    if isinstance(column.type, postgresql.JSONB):
        return lambda value: orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    if isinstance(column.type, ARRAY):
        return _array_literal
    return None


def _array_literal(values: Sequence[object]) -> str:
    escaped = (str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"


def _cast(column: Column[Any]) -> str:
    return str(column.type.compile(dialect=_DIALECT))
