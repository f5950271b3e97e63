"""The storefront graph's own scalar: what is written in a document and what comes as a variable are checked alike."""

from collections.abc import Mapping
from typing import Any

import strawberry
from graphql import Undefined, ValueNode, value_from_ast_untyped
from strawberry.types.scalar import ScalarDefinition

from orders.metadata import MAX_BYTES, MAX_DEPTH, Metadata, metadata_of


def _of_literal(node: ValueNode, variables: Mapping[str, Any] | None = None) -> Metadata:
    """A variable in it that has no value is left out, as in any input object; in a list it is null.

    A document is validated before there are variables: what they stand for is looked at when it runs.
    """
    return metadata_of(_known(value_from_ast_untyped(node, dict(variables or {}))))


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _known(inner) for name, inner in value.items() if inner is not Undefined}
    if isinstance(value, list):
        return [None if inner is Undefined else _known(inner) for inner in value]
    return value


_METADATA = strawberry.scalar(
    name="Metadata",
    description=f"A JSON object of {MAX_BYTES} bytes and {MAX_DEPTH} levels at most.",
    parse_value=metadata_of,
    parse_literal=_of_literal,
)
SCALARS: Mapping[object, ScalarDefinition] = {Metadata: _METADATA}
