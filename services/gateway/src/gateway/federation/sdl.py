"""Reads one subgraph's SDL (Apollo Federation v2) into a ``Subgraph``.

It strips what belongs to the protocol (``_entities``, ``_service``, ``@link``), gives root types their standard
names, and keeps what the composer needs. A directive that this gateway does not implement is an error: ignoring it
would serve other data than its author meant.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from graphql import (
    ConstDirectiveNode,
    DirectiveDefinitionNode,
    DirectiveNode,
    DocumentNode,
    FieldDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    InterfaceTypeDefinitionNode,
    InterfaceTypeExtensionNode,
    NameNode,
    Node,
    ObjectTypeDefinitionNode,
    ObjectTypeExtensionNode,
    SchemaDefinitionNode,
    SchemaExtensionNode,
    TypeDefinitionNode,
    TypeExtensionNode,
    Visitor,
    build_ast_schema,
    parse,
    value_from_ast_untyped,
    visit,
)

from gateway.federation.errors import CompositionError, CompositionFailed
from gateway.federation.keys import InvalidKey, coordinates, read_key
from gateway.federation.model import Key, Subgraph

SPECIFICATION = "https://specs.apollo.dev/federation/v2"
LINK = "https://specs.apollo.dev/link/"
STANDARD = frozenset({"deprecated", "specifiedBy", "oneOf"})
MACHINERY = frozenset({"_Any", "_Entity", "_Service", "_FieldSet", "FieldSet"})
ENTRY_POINTS = frozenset({"_entities", "_service"})
ROOTS = {"query": "Query", "mutation": "Mutation", "subscription": "Subscription"}
IN_QUERIES = frozenset(
    {"QUERY", "MUTATION", "FIELD", "FRAGMENT_SPREAD", "INLINE_FRAGMENT", "FRAGMENT_DEFINITION"}
)

SchemaNode: TypeAlias = SchemaDefinitionNode | SchemaExtensionNode
TypeNode: TypeAlias = TypeDefinitionNode | TypeExtensionNode


def read_subgraph(name: str, sdl: str) -> Subgraph:
    """Parse and check one subgraph's SDL; ``CompositionFailed`` lists what is wrong with it."""
    try:
        return _Reader(name, parse(sdl, no_location=True)).subgraph()
    except (GraphQLError, TypeError) as problem:  # TypeError is how graphql-core refuses an SDL
        raise CompositionFailed([CompositionError("INVALID_SDL", name, str(problem), (name,))]) from problem


class _Reader:
    def __init__(self, name: str, document: DocumentNode) -> None:
        self.name = name
        self.document = document
        self.errors: list[CompositionError] = []
        self.imported = self._imported_directives()
        self.key_arguments: list[tuple[str, dict[str, Any]]] = []
        self.shareable: set[tuple[str, str]] = set()

    def subgraph(self) -> Subgraph:
        renamed = visit(self.document, _Renamed(self._root_names()))
        cleaned = [self._clean_type(node) for node in _defined_once(self._type_definitions(renamed))]
        self._raise()
        schema = build_ast_schema(DocumentNode(definitions=tuple(node for node in cleaned if node)))
        if schema.subscription_type:
            self._refuse(
                "UNSUPPORTED_SUBSCRIPTION", "Subscription", "subscriptions are not served by this gateway"
            )
        keys = self._keys(schema)
        self._raise()
        return Subgraph(self.name, schema, keys, frozenset(self.shareable))

    def _refuse(self, code: str, where: str, message: str) -> None:
        self.errors.append(CompositionError(code, where, message, (self.name,)))

    def _raise(self) -> None:
        if self.errors:
            raise CompositionFailed(self.errors)

    def _keys(self, schema: GraphQLSchema) -> dict[str, tuple[Key, ...]]:
        keys: dict[str, tuple[Key, ...]] = {}
        for owner, arguments in self.key_arguments:
            try:
                key = read_key(schema, owner, arguments)
            except InvalidKey as problem:
                self._refuse("INVALID_KEY", owner, str(problem))
            else:
                keys[owner] = (*keys.get(owner, ()), key)
                self.shareable.update(coordinates(schema, owner, key.fields))
        return keys

    def _schema_nodes(self) -> Iterator[SchemaNode]:
        for node in self.document.definitions:
            if isinstance(node, SchemaDefinitionNode | SchemaExtensionNode):
                yield node

    def _root_names(self) -> dict[str, str]:
        operations = [operation for node in self._schema_nodes() for operation in node.operation_types or ()]
        names = {operation.type.name.value: ROOTS[operation.operation.value] for operation in operations}
        return {name: standard for name, standard in names.items() if name != standard}

    def _imported_directives(self) -> dict[str, str]:
        """Map the local name of each federation directive in this SDL to its name in the specification."""
        names: dict[str, str] = {}
        for directive in (directive for node in self._schema_nodes() for directive in node.directives or ()):
            link = _arguments(directive)
            url = str(link.get("url"))
            if directive.name.value != "link":
                self._refuse("UNSUPPORTED_DIRECTIVE", "schema", f"@{directive.name.value} is not supported")
            elif url.startswith(SPECIFICATION):
                names |= _linked_names(link)
            elif not url.startswith(LINK):
                self._refuse("UNSUPPORTED_LINK", "schema", f"the specification {url!r} is not supported")
        return names

    def _type_definitions(self, document: DocumentNode) -> Iterator[TypeNode]:
        for node in document.definitions:
            if isinstance(node, TypeDefinitionNode | TypeExtensionNode):
                name = node.name.value
                if name not in MACHINERY and not name.startswith(("federation__", "link__")):
                    yield node
            elif isinstance(node, DirectiveDefinitionNode) and IN_QUERIES.intersection(
                map(_name, node.locations)
            ):
                # One for schemas matters only where it is used; one for queries would be lost in silence.
                self._refuse("UNSUPPORTED_DIRECTIVE", f"@{node.name.value}", "queries cannot carry it here")

    def _clean_type(self, node: TypeNode) -> TypeNode | None:
        name = node.name.value
        if not isinstance(node, ObjectTypeDefinitionNode | ObjectTypeExtensionNode):
            self._take_directives(name, node, frozenset())
            for member in (*(getattr(node, "fields", None) or ()), *(getattr(node, "values", None) or ())):
                self._clean_member(name, member, frozenset())
            return node
        fields = [field for field in node.fields or () if field.name.value not in ENTRY_POINTS]
        if not fields and name in ROOTS.values():
            return None
        directives = self._take_directives(name, node, frozenset({"key", "shareable"}))
        self.key_arguments += [(name, arguments) for taken, arguments in directives if taken == "key"]
        if any(taken == "shareable" for taken, _ in directives):
            self.shareable.update((name, field.name.value) for field in fields)
        cleaned = tuple(self._clean_member(name, field, frozenset({"shareable"})) for field in fields)
        return dataclasses.replace(node, directives=_standard(node), fields=cleaned)

    def _clean_member(
        self, owner: str, member: FieldDefinitionNode, allowed: frozenset[str]
    ) -> FieldDefinitionNode:
        """Check a field, input field or enum value; only an object's field may carry federation directives."""
        where = f"{owner}.{member.name.value}"
        for argument in getattr(member, "arguments", None) or ():
            self._take_directives(f"{where}({argument.name.value}:)", argument, frozenset())
        if self._take_directives(where, member, allowed):
            self.shareable.add((owner, member.name.value))
        return dataclasses.replace(member, directives=_standard(member)) if allowed else member

    def _take_directives(
        self, where: str, node: Any, allowed: frozenset[str]
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return the federation directives of a node; refuse every other one that is not of GraphQL itself."""
        taken = []
        for directive in node.directives or ():
            local = directive.name.value
            name = self.imported.get(local)
            if name in allowed:
                taken.append((name, _arguments(directive)))
            elif local not in STANDARD:
                why = "is not supported here" if name else "is neither of GraphQL nor imported by a @link"
                self._refuse("UNSUPPORTED_DIRECTIVE", where, f"@{local} {why}")
        return taken


class _Renamed(Visitor):
    """Gives root types their standard names, wherever they are mentioned."""

    def __init__(self, names: dict[str, str]) -> None:
        super().__init__()
        self._names = names

    def enter_named_type(self, node: Any, *_: object) -> Node | None:
        new = self._names.get(node.name.value)
        return dataclasses.replace(node, name=dataclasses.replace(node.name, value=new)) if new else None

    enter_object_type_definition = enter_object_type_extension = enter_named_type


def _arguments(directive: DirectiveNode) -> dict[str, Any]:
    return {
        argument.name.value: value_from_ast_untyped(argument.value) for argument in directive.arguments or ()
    }


def _name(node: NameNode) -> str:
    return node.value


def _standard(node: Any) -> tuple[ConstDirectiveNode, ...]:
    return tuple(directive for directive in node.directives or () if directive.name.value in STANDARD)


def _linked_names(link: dict[str, Any]) -> dict[str, str]:
    prefix = link.get("as") or "federation"
    names = {f"{prefix}__{name}": name for name in ("key", "shareable")}
    for item in link.get("import") or ():
        imported = {"name": item} if isinstance(item, str) else item
        names[imported.get("as", imported["name"]).removeprefix("@")] = imported["name"].removeprefix("@")
    return names


def _defined_once(nodes: Iterable[TypeNode]) -> Iterator[TypeNode]:
    """Turn ``extend type X`` into a definition where this subgraph does not define X itself, as v2 allows."""
    nodes = list(nodes)
    defined = {node.name.value for node in nodes if isinstance(node, TypeDefinitionNode)}
    kinds: dict[type, type[TypeDefinitionNode]] = {
        ObjectTypeExtensionNode: ObjectTypeDefinitionNode,
        InterfaceTypeExtensionNode: InterfaceTypeDefinitionNode,
    }
    for node in nodes:
        if type(node) not in kinds or node.name.value in defined:
            yield node
            continue
        defined.add(node.name.value)
        parts = {part.name: getattr(node, part.name) for part in dataclasses.fields(node)}
        yield kinds[type(node)](**parts)
