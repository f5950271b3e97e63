"""Shapes merged data into the answer: hides what only the gateway asked for, and completes it by GraphQL's rules.

There are two ways to the same answer. ``projection`` compiles a fast one for data without a flaw: what one fetch
answered in the client's own shape is passed on as it is, since a subgraph honours its own schema. ``complete`` is the
exact one, for partial data: it lets nulls propagate and knows the path of every gap.
"""

from collections.abc import Callable, Iterable
from typing import Any

from graphql import GraphQLList, GraphQLNonNull, GraphQLOutputType

from gateway.federation.ir import Path, Position, Slot

Data = dict[str, Any]
_Shape = Callable[[Any], Any]


class Flaw(Exception):
    """The data lacks something that the API promises; only ``complete`` can answer."""


def projection(root: Position, type_key: str) -> Callable[[Data], Data]:
    """Compile the fast way. It raises ``Flaw`` for data that a non-null field is missing from."""
    shape = _object_shape(root, type_key)

    def project(data: Data) -> Data:
        try:
            answer: Data = shape(data)
        except KeyError as missing:
            raise Flaw from missing
        return answer

    return project


def _object_shape(position: Position, type_key: str) -> _Shape:
    fields = [_field_shape(slot.key, slot, type_key) for slot in position.slots if slot.key is not None]

    def shape(data: Data | None) -> Data | None:
        if data is None:
            return None
        answer = {}
        for key, source, required, below in fields:
            value = data[source] if required else data.get(source)
            answer[key] = below(value) if below else value
        return answer

    return shape


def _field_shape(key: str, slot: Slot, type_key: str) -> tuple[str, str, bool, _Shape | None]:
    required = isinstance(slot.type, GraphQLNonNull)
    if not slot.children or slot.intact:
        return key, slot.source, required, None
    shapes = {name: _object_shape(child, type_key) for name, child in slot.children.items()}
    below = _abstract_shape(shapes, type_key) if slot.typed else next(iter(shapes.values()))
    return key, slot.source, required, _list_shape(slot.type, below)


def _abstract_shape(shapes: dict[str, _Shape], type_key: str) -> _Shape:
    def shape(data: Data | None) -> Data | None:
        return None if data is None else shapes[data[type_key]](data)

    return shape


def _list_shape(declared: GraphQLOutputType, below: _Shape) -> _Shape:
    bare = declared.of_type if isinstance(declared, GraphQLNonNull) else declared
    if not isinstance(bare, GraphQLList):
        return below
    item_shape = _list_shape(bare.of_type, below)

    def shape(items: list[Any] | None) -> list[Any] | None:
        return None if items is None else [item_shape(item) for item in items]

    return shape


class _Null(Exception):
    """A null on its way up to the nearest field that may be null."""


class Completion:
    """The exact way. ``gaps`` are the paths where a non-null field had no value, with the field's coordinate."""

    def __init__(self, type_key: str) -> None:
        self._type_key = type_key
        self.gaps: list[tuple[Path, str]] = []

    def complete(self, data: Data, slots: Iterable[Slot]) -> Data | None:
        """Complete some root slots; None where a null propagates to the root."""
        try:
            return self._object(data, slots, ())
        except _Null:
            return None

    def _object(self, data: Data, slots: Iterable[Slot], path: Path) -> Data:
        return {
            slot.key: self._value(slot.type, data.get(slot.source), slot, (*path, slot.key))
            for slot in slots
            if slot.key is not None
        }

    def _value(self, declared: GraphQLOutputType, value: Any, slot: Slot, path: Path) -> Any:
        if isinstance(declared, GraphQLNonNull):
            if value is None:
                self.gaps.append((path, f"{slot.holder.type_name}.{slot.name}"))
                raise _Null
            return self._present(declared.of_type, value, slot, path)
        if value is None:
            return None
        try:
            return self._present(declared, value, slot, path)
        except _Null:
            return None

    def _present(self, declared: GraphQLOutputType, value: Any, slot: Slot, path: Path) -> Any:
        if slot.intact or not slot.children:
            return value
        if isinstance(declared, GraphQLList):
            return [
                self._value(declared.of_type, item, slot, (*path, index)) for index, item in enumerate(value)
            ]
        name = value.get(self._type_key) if slot.typed else next(iter(slot.children))
        child = slot.children.get(name)
        if child is None:  # a type that the subgraph has got since its SDL was last read
            self.gaps.append((path, f"{slot.holder.type_name}.{slot.name}"))
            raise _Null
        return self._object(value, child.slots, path)
