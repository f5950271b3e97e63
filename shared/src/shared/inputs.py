"""Input objects are built by one function per type, compiled with the schema.

Strawberry looks up every field's type and name again for every value, which is a third of what the execution of a small mutation
costs. A type with a field that is unusual (Maybe, a GlobalID, a lazy or custom type) stays with Strawberry.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import strawberry
from strawberry.relay import GlobalID
from strawberry.schema.compat import is_scalar
from strawberry.types.base import (
    StrawberryList,
    StrawberryMaybe,
    StrawberryObjectDefinition,
    StrawberryOptional,
    get_object_definition,
)
from strawberry.types.enum import StrawberryEnumDefinition

Convert = Callable[[Any], Any]
"""From a coerced GraphQL value, which is not null, to its Python value."""


class Unusual(Exception):
    """A field that is left to Strawberry."""


def compile_inputs(schema: strawberry.Schema) -> None:
    """Give the schema's input types their functions. They are as good for another schema, if it names fields in the same way."""
    for each in list(schema.schema_converter.type_map.values()):
        definition = each.definition
        if isinstance(definition, StrawberryObjectDefinition) and definition.is_input:
            try:
                build = _builder(schema, definition, set())
            except Unusual:
                continue
            definition.from_input = lambda type_, values, _, build=build: build(type_, values)


def _builder(
    schema: strawberry.Schema, definition: StrawberryObjectDefinition, inside: set[str]
) -> Callable[[Any, Mapping[str, Any]], Any]:
    """`inside` has the types that this one is in: one that holds itself would never end. Raises Unusual."""
    if definition.name in inside:
        raise Unusual
    around = inside | {definition.name}
    name_of = schema.config.name_converter.from_field
    # A nullable field without a default may be left out; what may not is refused before.
    absent = {
        field.python_name: None
        for field in definition.fields
        if field.default_value is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    plan = [
        (
            name_of(field),
            field.python_name,
            _converter(schema, field.resolve_type(type_definition=definition), around),
        )
        for field in definition.fields
    ]

    def build(type_: Any, values: Mapping[str, Any]) -> Any:
        given = {
            python_name: values[name] if convert is None or values[name] is None else convert(values[name])
            for name, python_name, convert in plan
            if name in values
        }
        return type_(**{**absent, **given})

    return build


def _converter(schema: strawberry.Schema, type_: Any, inside: set[str]) -> Convert | None:
    """None for what is passed on as it is. Raises Unusual."""
    if isinstance(type_, StrawberryMaybe):
        raise Unusual
    if isinstance(type_, StrawberryOptional):
        return _converter(schema, type_.of_type, inside)
    if isinstance(type_, StrawberryList):
        convert = _converter(schema, type_.of_type, inside)
        if convert is None:
            return list  # a copy: a default's list is the same for every request
        return lambda values: [None if value is None else convert(value) for value in values]
    if isinstance(type_, StrawberryEnumDefinition):
        return None
    if type_ is not GlobalID and is_scalar(type_, schema.schema_converter.scalar_registry):
        return None
    definition = get_object_definition(type_)
    if definition is None or not definition.is_input or definition.origin is not type_:
        raise Unusual
    build = _builder(schema, definition, inside)
    return lambda values: build(type_, values)
