"""The federated graph as data: what each subgraph declares, and what they declare together."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, cast

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_abstract_type,
)


def object_type(schema: GraphQLSchema, name: str) -> GraphQLObjectType:
    """Return a type that is known to be an object type of the schema."""
    return cast("GraphQLObjectType", schema.type_map[name])


FieldSet: TypeAlias = tuple[tuple[str, "FieldSet"], ...]
"""The fields of a ``@key``: names, each with its own nested set (empty for a leaf)."""


@dataclass(frozen=True, slots=True)
class Key:
    """One ``@key`` of an entity in one subgraph. Only a resolvable one can be used to enter the subgraph."""

    fields: FieldSet
    resolvable: bool


@dataclass(frozen=True)
class Subgraph:
    """One service's part. Its schema holds no federation machinery, and its root types have standard names."""

    name: str
    schema: GraphQLSchema
    keys: Mapping[str, tuple[Key, ...]]
    shareable: frozenset[tuple[str, str]]

    def field(self, type_name: str, field_name: str) -> GraphQLField | None:
        """Return the declaration of a field, or None where this subgraph does not resolve it."""
        holder = self.schema.type_map.get(type_name)
        if not isinstance(holder, (GraphQLObjectType, GraphQLInterfaceType)):
            return None
        field: GraphQLField | None = holder.fields.get(field_name)
        return field

    def resolves_all(self, type_name: str, fields: FieldSet) -> bool:
        """Say whether this subgraph alone answers the whole nested set on a type."""
        for name, nested in fields:
            field = self.field(type_name, name)
            if field is None or not self.resolves_all(get_named_type(field.type).name, nested):
                return False
        return True

    @cached_property
    def _returned(self) -> dict[tuple[str, str], frozenset[str]]:
        return {}

    def returned_types(self, type_name: str, field_name: str) -> frozenset[str]:
        """Return the names of the object types that this subgraph can answer a field with."""
        known = self._returned.get((type_name, field_name))
        if known is None:
            field = self.field(type_name, field_name)
            named = get_named_type(field.type) if field else None
            if is_abstract_type(named):
                known = frozenset(possible.name for possible in self.schema.get_possible_types(named))
            else:
                known = frozenset({named.name}) if isinstance(named, GraphQLObjectType) else frozenset()
            self._returned[type_name, field_name] = known
        return known


@dataclass(frozen=True)
class Graph:
    """A composed graph: the API schema that clients see, and who answers which field."""

    api: GraphQLSchema
    subgraphs: Mapping[str, Subgraph]

    @cached_property
    def resolvers(self) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """Map (type, field) to the names of the subgraphs that answer it, in a fixed order."""
        found: dict[tuple[str, str], tuple[str, ...]] = {}
        for name, subgraph in self.subgraphs.items():
            for type_name, declared in subgraph.schema.type_map.items():
                if isinstance(declared, GraphQLObjectType) and not type_name.startswith("__"):
                    for field_name in declared.fields:
                        found[type_name, field_name] = (*found.get((type_name, field_name), ()), name)
        return found

    @cached_property
    def entries(self) -> Mapping[str, Mapping[str, tuple[FieldSet, ...]]]:
        """Map an entity type to the keys by which each subgraph can be entered at it."""
        found: dict[str, dict[str, tuple[FieldSet, ...]]] = {}
        for name, subgraph in self.subgraphs.items():
            for type_name, keys in subgraph.keys.items():
                if usable := tuple(key.fields for key in keys if key.resolvable):
                    found.setdefault(type_name, {})[name] = usable
        return found
