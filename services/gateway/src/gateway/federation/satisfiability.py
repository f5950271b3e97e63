"""Checks that every field of the API can be reached on every path that leads to its type.

A state is an object type together with the subgraphs that can answer there. More subgraphs join by their keys; where
a field has no answering subgraph among them, a valid query would have no plan, and the composition is refused.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLUnionType, get_named_type

from gateway.federation.errors import CompositionError
from gateway.federation.model import FieldSet, Graph, object_type

_State = tuple[str, frozenset[str]]


def unreachable_fields(graph: Graph) -> list[CompositionError]:
    """Return one error per field that some path cannot reach, with the first such path in its message."""
    errors: dict[tuple[str, str], CompositionError] = {}
    everyone = frozenset(graph.subgraphs)
    roots = [root for root in (graph.api.query_type, graph.api.mutation_type) if root]
    waiting: deque[tuple[_State, tuple[str, ...]]] = deque(
        ((root.name, everyone), (root.name,)) for root in roots
    )
    seen = {state for state, _ in waiting}
    while waiting:
        (type_name, here), path = waiting.popleft()
        reached = _reached(graph, type_name, here)
        for field_name in object_type(graph.api, type_name).fields:
            answering = reached.intersection(graph.resolvers[type_name, field_name])
            if not answering and (type_name, field_name) not in errors:
                errors[type_name, field_name] = _unreachable(graph, type_name, field_name, here, path)
            for state in _next_states(graph, type_name, field_name, answering):
                if state not in seen:
                    seen.add(state)
                    waiting.append((state, (*path, field_name)))
    return list(errors.values())


def _reached(graph: Graph, type_name: str, here: frozenset[str]) -> frozenset[str]:
    """Close a set of subgraphs over the keys by which further ones can be entered."""
    reached = set(here)
    waiting = dict(graph.entries.get(type_name, {}))
    while True:
        joined = {
            name
            for name, keys in waiting.items()
            if name not in reached and any(_known(graph, type_name, key, reached) for key in keys)
        }
        if not joined:
            return frozenset(reached)
        reached |= joined


def _known(graph: Graph, type_name: str, key: FieldSet, reached: Iterable[str]) -> bool:
    return all(
        any(graph.subgraphs[name].resolves_all(type_name, (part,)) for name in reached) for part in key
    )


def _next_states(graph: Graph, type_name: str, field_name: str, answering: Iterable[str]) -> Iterator[_State]:
    field = object_type(graph.api, type_name).fields[field_name]
    named = get_named_type(field.type)
    if isinstance(named, GraphQLObjectType):
        possible: Iterable[GraphQLObjectType] = (named,)
    elif isinstance(named, GraphQLInterfaceType | GraphQLUnionType):
        possible = graph.api.get_possible_types(named)
    else:
        return
    for concrete in possible:
        returning = frozenset(
            name
            for name in answering
            if concrete.name in graph.subgraphs[name].returned_types(type_name, field_name)
        )
        if returning:
            yield concrete.name, returning


def _unreachable(
    graph: Graph, type_name: str, field_name: str, here: frozenset[str], path: tuple[str, ...]
) -> CompositionError:
    owners = graph.resolvers[type_name, field_name]
    way = " > ".join((*path, field_name))
    return CompositionError(
        "UNREACHABLE_FIELD",
        f"{type_name}.{field_name}",
        f"{way} cannot be answered: {', '.join(sorted(here))} cannot supply a key to enter {', '.join(owners)}",
        owners,
    )
