"""Between a table and a frozen dataclass: which column holds which field, and the SQL that moves many rows at once.

Fields and columns carry the same names. A write is one statement however many rows it moves: they travel as one JSON text,
which costs a third to a half of what arrays of columns cost to encode.
"""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as Dict
from dataclasses import fields
from functools import cache
from sys import intern
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

import orjson
from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql

T = TypeVar("T")
_SAME = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
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
            f'SELECT {names} FROM {table.name} WHERE "{self.owner}" = ANY($1::{_type(table.c[self.owner])}[])'  # noqa: S608 - names come from our own Table objects
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
                and differ(getattr(before, name), getattr(after, name))}  # fmt: skip


def differ(before: object, after: object) -> bool:
    """JSON tells 1 from true and from 1.0, which to Python are equal, within objects too."""
    if before != after or not isinstance(after, dict):
        return before != after
    return orjson.dumps(before, option=_SAME) != orjson.dumps(after, option=_SAME)


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


def recordset(rows: Sequence[Any]) -> str:
    """Entities, or dictionaries by column, as the statements below take them. Raises TypeError for what JSON cannot hold."""
    return orjson.dumps(rows, _plain, orjson.OPT_NON_STR_KEYS).decode()


def _plain(value: object) -> str:
    """The driver's own UUIDs are a subclass, which orjson leaves to us."""
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"a {type(value).__name__} has no place in a column")


@cache
def insert_sql(table: Table, columns: tuple[str, ...], suffix: str = "") -> str:
    """INSERT of a record set, in its order; `suffix` is an ON CONFLICT clause."""
    return (
        f"INSERT INTO {table.name} ({_names(columns)}) SELECT {_names(columns, 'u.')}"  # noqa: S608 - names come from our own Table objects
        f" FROM {_records(table, columns)} ORDER BY u.n {suffix}"
    )


@cache
def update_sql(table: Table, key: str, columns: tuple[str, ...]) -> str:
    """UPDATE of a record set by key and the version that its rows were read at."""
    changes = ", ".join(f'"{name}" = u."{name}"' for name in columns)
    return (
        f'UPDATE {table.name} AS t SET "version" = t."version" + 1, {changes}'  # noqa: S608 - names come from our own Table objects
        f' FROM {_records(table, (key, "version", *columns))} WHERE t."{key}" = u."{key}" AND t."version" = u."version"'
    )


def _records(table: Table, columns: Sequence[str]) -> str:
    typed = ", ".join(f'"{name}" {_type(table.c[name])}' for name in columns)
    return f"ROWS FROM (json_to_recordset($1::json) AS ({typed})) WITH ORDINALITY AS u({_names(columns)}, n)"


def _names(columns: Sequence[str], of: str = "") -> str:
    return ", ".join(f'{of}"{name}"' for name in columns)


def _type(column: Column[Any]) -> str:
    return str(column.type.compile(dialect=_DIALECT))
