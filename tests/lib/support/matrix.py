"""Every operation and every field of the graph, taken from its schema: so nobody can add one and forget who may use it."""

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    get_named_type,
    is_leaf_type,
)

from ordermesh.schema import storefront_sdl

MAX_DEPTH = 4


def storefront() -> GraphQLSchema:
    return build_schema(storefront_sdl())


def operations(schema: GraphQLSchema) -> dict[str, GraphQLField]:
    """`query order`, `mutation cancelOrder`...: every field that a client can begin with."""
    roots = {"query": schema.query_type, "mutation": schema.mutation_type}
    return {
        f"{kind} {name}": field for kind, root in roots.items() if root for name, field in root.fields.items()
    }


def document(operation: str, field: GraphQLField, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The operation with its required arguments, and those optional ones that are `given`; a shallow answer is enough."""
    kind, _, name = operation.partition(" ")
    used = {
        arg: of.type for arg, of in field.args.items() if isinstance(of.type, GraphQLNonNull) or arg in given
    }
    declared = ", ".join(f"${arg}: {type_}" for arg, type_ in used.items())
    passed = ", ".join(f"{arg}: ${arg}" for arg in used)
    head, call = (f"({declared})", f"{name}({passed})") if used else ("", name)
    variables = {arg: given[arg] if arg in given else example(type_, given) for arg, type_ in used.items()}
    return f"{kind}{head} {{ {call}{selection(field, depth=1)} }}", variables


def example(type_: Any, given: Mapping[str, Any]) -> Any:
    """Some value of the type; `given` has those of scalars and of input types by their names."""
    named = get_named_type(type_)
    if named.name in given:
        value = given[named.name]
    elif isinstance(named, GraphQLInputObjectType):
        required = {n: f for n, f in named.fields.items() if isinstance(f.type, GraphQLNonNull)}
        value = {n: example(f.type, given) for n, f in required.items()}
    else:
        value = next(iter(named.values))
    return [value] if "[" in str(type_) else value


def selection(field: GraphQLField, *, depth: int = MAX_DEPTH) -> str:
    """All leaves down to `depth`, and none that takes arguments of its own. Blank for a field that is a leaf."""
    of: Any = get_named_type(field.type)
    return "" if is_leaf_type(of) else f" {{ {' '.join(_parts(of, depth, ()))} }}"


def _parts(of: GraphQLObjectType, depth: int, above: tuple[str, ...]) -> Iterator[str]:
    yield "__typename"
    for name, field in of.fields.items():
        inner: Any = get_named_type(field.type)
        if is_leaf_type(inner):
            yield name
        elif depth > 1 and inner.name not in {of.name, *above}:
            yield f"{name} {{ {' '.join(_parts(inner, depth - 1, (of.name, *above)))} }}"


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each leaf of an answer with the path of its fields; lists have no say in the path."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from leaves(part, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part, path)
    else:
        yield path, value
