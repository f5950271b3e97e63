"""Reads the field set of a ``@key`` and checks it against the subgraph that declares it."""

from collections.abc import Iterator
from typing import Any, cast

from graphql import (
    FieldNode,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    parse,
)

from gateway.federation.model import FieldSet, Key, object_type


class InvalidKey(ValueError):
    """A ``@key`` that names something which cannot identify an entity."""


def read_key(schema: GraphQLSchema, type_name: str, arguments: dict[str, Any]) -> Key:
    """Parse the arguments of one ``@key``; ``InvalidKey`` says what is wrong with them."""
    text = arguments.get("fields")
    try:
        definition = parse(f"{{{text}}}", no_location=True).definitions[0]
    except GraphQLSyntaxError as problem:
        raise InvalidKey(f"{text!r} is not a set of fields") from problem
    selection = cast("OperationDefinitionNode", definition).selection_set
    return Key(
        _read(schema, object_type(schema, type_name), selection), arguments.get("resolvable") is not False
    )


def _read(schema: GraphQLSchema, holder: GraphQLObjectType, selection: SelectionSetNode) -> FieldSet:
    return tuple(_read_field(schema, holder, node) for node in selection.selections)


def _read_field(schema: GraphQLSchema, holder: GraphQLObjectType, node: object) -> tuple[str, FieldSet]:
    if not isinstance(node, FieldNode) or node.alias or node.arguments or node.directives:
        raise InvalidKey("a key holds plain fields: no alias, argument, directive or fragment")
    name = node.name.value
    field = holder.fields.get(name)
    if field is None:
        raise InvalidKey(f"{holder.name} has no field {name!r}")
    named = get_named_type(field.type)
    if is_list_type(get_nullable_type(field.type)) or not (
        is_leaf_type(named) or isinstance(named, GraphQLObjectType)
    ):
        raise InvalidKey(f"{holder.name}.{name} is a list, an interface or a union")
    if isinstance(named, GraphQLObjectType) != bool(node.selection_set):
        raise InvalidKey(f"{holder.name}.{name} must have nested fields exactly if it is an object")
    if not isinstance(named, GraphQLObjectType) or node.selection_set is None:
        return name, ()
    return name, _read(schema, named, node.selection_set)


def coordinates(schema: GraphQLSchema, type_name: str, fields: FieldSet) -> Iterator[tuple[str, str]]:
    """Yield (type, field) for every field of a checked key: those are shareable by being part of a key."""
    fields_of = object_type(schema, type_name).fields
    for name, nested in fields:
        yield type_name, name
        yield from (coordinates(schema, get_named_type(fields_of[name].type).name, nested) if nested else ())
