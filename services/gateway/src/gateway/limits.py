"""Refuses documents that are too large to be worth validating and planning. Fragments count wherever they are spread."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from gateway.federation import Code, RequestRefused


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one document."""

    depth: int = 12
    aliases: int = 30
    root_fields: int = 10

    def check(self, document: DocumentNode) -> None:
        """Raise ``RequestRefused`` (QUERY_TOO_COMPLEX) for an operation over a limit."""
        measure = _Measure(document, self.depth)
        for definition in document.definitions:
            if isinstance(definition, OperationDefinitionNode):
                aliases = measure.aliases(definition.selection_set, 1)
                if aliases > self.aliases:
                    raise _too_complex(f"{aliases} aliases, {self.aliases} are allowed")
                fields = sum(1 for _ in measure.fields(definition.selection_set, ()))
                if fields > self.root_fields:
                    raise _too_complex(f"{fields} root fields, {self.root_fields} are allowed")


@dataclass(slots=True)
class _Measure:
    document: DocumentNode
    max_depth: int
    fragments: dict[str, FragmentDefinitionNode] = field(init=False)
    known: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        definitions = self.document.definitions
        self.fragments = {
            node.name.value: node for node in definitions if isinstance(node, FragmentDefinitionNode)
        }

    def aliases(self, selection_set: SelectionSetNode, depth: int) -> int:
        """Count aliases, and refuse on the way what is too deep: a cycle of fragments ends there at the latest."""
        return sum(self._aliases_of(node, depth) for node in selection_set.selections)

    def _aliases_of(self, node: object, depth: int) -> int:
        if isinstance(node, FieldNode):
            if depth > self.max_depth:
                raise _too_complex(f"deeper than {self.max_depth} levels")
            own = 1 if node.alias else 0
            # Introspection is deep by nature; graphql-core bounds it by a rule of its own.
            if node.selection_set and not node.name.value.startswith("__"):
                return own + self.aliases(node.selection_set, depth + 1)
            return own
        if isinstance(node, InlineFragmentNode):
            return self.aliases(node.selection_set, depth)
        return (
            self._aliases_of_fragment(node.name.value, depth) if isinstance(node, FragmentSpreadNode) else 0
        )

    def _aliases_of_fragment(self, name: str, depth: int) -> int:
        fragment = self.fragments.get(name)
        if fragment is None or (name, depth) in self.known:
            return self.known.get((name, depth), 0)
        self.known[name, depth] = 0  # what a cycle at one depth meets; validation refuses it afterwards
        self.known[name, depth] = self.aliases(fragment.selection_set, depth)
        return self.known[name, depth]

    def fields(self, selection_set: SelectionSetNode, inside: tuple[str, ...]) -> Iterator[FieldNode]:
        """Yield the fields of one level."""
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                yield node
            elif isinstance(node, InlineFragmentNode):
                yield from self.fields(node.selection_set, inside)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in inside:
                fragment = self.fragments.get(node.name.value)
                if fragment:
                    yield from self.fields(fragment.selection_set, (*inside, node.name.value))


def _too_complex(what: str) -> RequestRefused:
    return RequestRefused(Code.QUERY_TOO_COMPLEX, f"The query is too complex: {what}")
