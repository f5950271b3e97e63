"""Composes subgraphs into one graph, or says everything that keeps them apart."""

from collections.abc import Iterator, Mapping

from graphql import (
    GraphQLObjectType,
    build_ast_schema,
    lexicographic_sort_schema,
    print_schema,
    validate_schema,
)

from gateway.federation.errors import CompositionError, CompositionFailed
from gateway.federation.merge import merge
from gateway.federation.model import Graph, Subgraph
from gateway.federation.satisfiability import unreachable_fields
from gateway.federation.sdl import read_subgraph


def compose(sources: Mapping[str, str]) -> Graph:
    """Compose subgraphs given as {name: SDL}. ``CompositionFailed`` carries every error of the first failing stage."""
    subgraphs = _read(sources)
    document, errors = merge(subgraphs.values())
    errors += _sharing_errors(subgraphs)
    _raise(errors)
    api = build_ast_schema(document)
    _raise([CompositionError("INVALID_API", "schema", problem.message) for problem in validate_schema(api)])
    graph = Graph(api, subgraphs)
    _raise(unreachable_fields(graph))
    return graph


def schema_sdl(graph: Graph) -> str:
    """Print the API that clients see, sorted, so that equal graphs print equally."""
    return print_schema(lexicographic_sort_schema(graph.api)) + "\n"


def _raise(errors: list[CompositionError]) -> None:
    if errors:
        raise CompositionFailed(errors)


def _read(sources: Mapping[str, str]) -> dict[str, Subgraph]:
    subgraphs: dict[str, Subgraph] = {}
    errors: list[CompositionError] = []
    for name in sorted(sources):
        try:
            subgraphs[name] = read_subgraph(name, sources[name])
        except CompositionFailed as failed:
            errors += failed.errors
    _raise(errors)
    return subgraphs


def _sharing_errors(subgraphs: Mapping[str, Subgraph]) -> list[CompositionError]:
    return [
        problem
        for (owner, field), names in _declared(subgraphs).items()
        if len(names) > 1
        for problem in _sharing_error(subgraphs, owner, field, names)
    ]


def _declared(subgraphs: Mapping[str, Subgraph]) -> dict[tuple[str, str], list[str]]:
    declared: dict[tuple[str, str], list[str]] = {}
    for name, subgraph in subgraphs.items():
        for type_name, holder in subgraph.schema.type_map.items():
            if isinstance(holder, GraphQLObjectType) and not type_name.startswith("__"):
                for field in holder.fields:
                    declared.setdefault((type_name, field), []).append(name)
    return declared


def _sharing_error(
    subgraphs: Mapping[str, Subgraph], owner: str, field: str, names: list[str]
) -> Iterator[CompositionError]:
    where = f"{owner}.{field}"
    if owner == "Mutation":
        yield CompositionError(
            "SHARED_MUTATION", where, "a mutation runs once: one subgraph owns it", tuple(names)
        )
        return
    unshared = [name for name in names if (owner, field) not in subgraphs[name].shareable]
    if unshared:
        message = f"answered by several subgraphs, and not @shareable in {', '.join(unshared)}"
        yield CompositionError("INVALID_FIELD_SHARING", where, message, tuple(names))
