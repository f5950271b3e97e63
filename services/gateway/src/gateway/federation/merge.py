"""Merges the types of several subgraphs into one API document, by the rules of Federation v2.

What a subgraph returns may only get weaker (nullable if nullable anywhere, unions and enums in outputs grow); what
it accepts may only get stricter (non-null if required anywhere, inputs and enums in inputs shrink).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from graphql import (
    ConstDirectiveNode,
    DocumentNode,
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLUnionType,
    InputObjectTypeDefinitionNode,
    InputValueDefinitionNode,
    InterfaceTypeDefinitionNode,
    ListTypeNode,
    NamedTypeNode,
    NameNode,
    NonNullTypeNode,
    ObjectTypeDefinitionNode,
    ScalarTypeDefinitionNode,
    TypeDefinitionNode,
    TypeNode,
    UnionTypeDefinitionNode,
    get_named_type,
    is_introspection_type,
    is_specified_scalar_type,
    print_ast,
)

from gateway.federation.errors import CompositionError
from gateway.federation.model import Subgraph

Composite: TypeAlias = GraphQLObjectType | GraphQLInterfaceType
Declared: TypeAlias = Mapping[str, Any]
"""What each subgraph (by name) declares of one thing."""


class _Mismatch(Exception):
    """Two types that no third one covers."""


def merge(subgraphs: Iterable[Subgraph]) -> tuple[DocumentNode, list[CompositionError]]:
    """Return the API document of all subgraphs together, and every contradiction found on the way."""
    merger = _Merger(list(subgraphs))
    definitions = [merger.merged(name, declared) for name, declared in merger.types.items()]
    return DocumentNode(definitions=tuple(node for node in definitions if node)), merger.errors


class _Merger:
    def __init__(self, subgraphs: list[Subgraph]) -> None:
        self.errors: list[CompositionError] = []
        self.types: dict[str, dict[str, GraphQLNamedType]] = {}
        self.covered: dict[str, set[str]] = {}  # what some subgraph puts under an interface or union
        self.returned: set[str] = set()
        self.accepted: set[str] = set()
        for subgraph in subgraphs:
            for name, declared in subgraph.schema.type_map.items():
                if not is_introspection_type(declared) and not is_specified_scalar_type(declared):
                    self.types.setdefault(name, {})[subgraph.name] = declared
                    self._note(declared)

    def _note(self, declared: GraphQLNamedType) -> None:
        if isinstance(declared, GraphQLUnionType):
            self.covered.setdefault(declared.name, set()).update(member.name for member in declared.types)
        elif isinstance(declared, Composite):
            for interface in declared.interfaces:
                self.covered.setdefault(interface.name, set()).add(declared.name)
            for field in declared.fields.values():
                self.returned.add(get_named_type(field.type).name)
                self.accepted.update(get_named_type(argument.type).name for argument in field.args.values())
        elif isinstance(declared, GraphQLInputObjectType):
            self.accepted.update(get_named_type(field.type).name for field in declared.fields.values())

    def _refuse(self, code: str, where: str, message: str, subgraphs: Iterable[str]) -> None:
        self.errors.append(CompositionError(code, where, message, tuple(subgraphs)))

    def merged(self, name: str, declared: Mapping[str, GraphQLNamedType]) -> TypeDefinitionNode | None:
        """Return the API's definition of one type, or None where the subgraphs do not agree on its kind."""
        kinds = {type(each) for each in declared.values()}
        if len(kinds) > 1:
            names = ", ".join(sorted(kind.__name__.removeprefix("GraphQL") for kind in kinds))
            self._refuse("TYPE_KIND_MISMATCH", name, f"declared as {names}", declared)
            return None
        by_kind: dict[type, Callable[[str, Any], TypeDefinitionNode]] = {
            GraphQLObjectType: self._composite,
            GraphQLInterfaceType: self._composite,
            GraphQLUnionType: self._union,
            GraphQLEnumType: self._enum,
            GraphQLInputObjectType: self._input,
            GraphQLScalarType: self._scalar,
        }
        return by_kind[kinds.pop()](name, declared)

    def _composite(self, name: str, declared: Mapping[str, Composite]) -> TypeDefinitionNode:
        fields = _by_member(declared, lambda each: each.fields)
        interfaces = _union_of(
            [interface.name for interface in each.interfaces] for each in declared.values()
        )
        is_object = isinstance(next(iter(declared.values())), GraphQLObjectType)
        return (ObjectTypeDefinitionNode if is_object else InterfaceTypeDefinitionNode)(
            **_head(name, declared),
            interfaces=tuple(map(_named, interfaces)),
            fields=tuple(self._field(f"{name}.{field}", field, by) for field, by in fields.items()),
        )

    def _field(self, where: str, name: str, declared: Declared) -> FieldDefinitionNode:
        arguments = _by_member(declared, lambda each: each.args)
        kept = [
            self._input_value(f"{where}({argument}:)", argument, by, declared, "ARGUMENT")
            for argument, by in arguments.items()
        ]
        return FieldDefinitionNode(
            **_head(name, declared),
            directives=_deprecation(declared),
            arguments=tuple(argument for argument in kept if argument),
            type=self._type("FIELD_TYPE_MISMATCH", where, declared, accepted=False),
        )

    def _input_value(
        self, where: str, name: str, by: Declared, everyone: Iterable[str], kind: str
    ) -> InputValueDefinitionNode | None:
        """Keep what every subgraph accepts. What one requires and another does not know cannot be served."""
        nodes: dict[str, InputValueDefinitionNode] = {
            subgraph: each.ast_node for subgraph, each in by.items()
        }
        if missing := [subgraph for subgraph in everyone if subgraph not in by]:
            if requiring := [subgraph for subgraph, node in nodes.items() if _is_required(node)]:
                message = f"required by {', '.join(requiring)}, unknown to {', '.join(missing)}"
                self._refuse(f"REQUIRED_{kind}_MISSING", where, message, by)
            return None
        defaults = {node.default_value and print_ast(node.default_value) for node in nodes.values()}
        if len(defaults) > 1:
            self._refuse(
                f"{kind}_DEFAULT_MISMATCH", where, f"defaults differ: {sorted(map(str, defaults))}", by
            )
        return InputValueDefinitionNode(
            **_head(name, by),
            directives=_deprecation(by),
            default_value=next(iter(nodes.values())).default_value,
            type=self._type(f"{kind}_TYPE_MISMATCH", where, by, accepted=True),
        )

    def _union(self, name: str, declared: Mapping[str, GraphQLUnionType]) -> TypeDefinitionNode:
        members = _union_of([member.name for member in each.types] for each in declared.values())
        return UnionTypeDefinitionNode(**_head(name, declared), types=tuple(map(_named, members)))

    def _enum(self, name: str, declared: Mapping[str, GraphQLEnumType]) -> TypeDefinitionNode:
        values = _by_member(declared, lambda each: each.values)
        everywhere = {value for value, by in values.items() if len(by) == len(declared)}
        if name in self.accepted and name in self.returned and len(everywhere) < len(values):
            odd = ", ".join(sorted(set(values) - everywhere))
            self._refuse("ENUM_VALUE_MISMATCH", name, f"used in and out, so all must declare {odd}", declared)
        kept = [value for value in values if value in everywhere or name not in self.accepted]
        if not kept:
            self._refuse("EMPTY_ENUM", name, "no value is accepted by every subgraph", declared)
        nodes = [next(iter(values[value].values())).ast_node for value in kept]
        return EnumTypeDefinitionNode(**_head(name, declared), values=tuple(nodes))

    def _input(self, name: str, declared: Mapping[str, GraphQLInputObjectType]) -> TypeDefinitionNode:
        fields = _by_member(declared, lambda each: each.fields)
        kept = [
            self._input_value(f"{name}.{field}", field, by, declared, "FIELD") for field, by in fields.items()
        ]
        if not any(kept):
            self._refuse("EMPTY_INPUT", name, "no field is accepted by every subgraph", declared)
        one_of = {each.is_one_of for each in declared.values()}
        if len(one_of) > 1:
            self._refuse("ONE_OF_MISMATCH", name, "@oneOf must be declared by all or by none", declared)
        directives = (
            (ConstDirectiveNode(name=NameNode(value="oneOf"), arguments=()),) if one_of == {True} else ()
        )
        return InputObjectTypeDefinitionNode(
            **_head(name, declared), directives=directives, fields=tuple(field for field in kept if field)
        )

    def _scalar(self, name: str, declared: Mapping[str, GraphQLScalarType]) -> TypeDefinitionNode:
        directives = next((each.ast_node.directives for each in declared.values() if each.ast_node), ())
        return ScalarTypeDefinitionNode(**_head(name, declared), directives=directives)

    def _type(self, code: str, where: str, declared: Declared, *, accepted: bool) -> TypeNode:
        nodes = [each.ast_node.type for each in declared.values()]
        try:
            return _cover(nodes, any, _only_name) if accepted else _cover(nodes, all, self._common_supertype)
        except _Mismatch:
            types = ", ".join(sorted({print_ast(node) for node in nodes}))
            self._refuse(code, where, f"no type covers all of {types}", declared)
            first: TypeNode = nodes[0]
            return first

    def _common_supertype(self, names: set[str]) -> str:
        for name in names:
            if names <= {name, *self.covered.get(name, ())}:
                return name
        raise _Mismatch


def _cover(
    nodes: Sequence[TypeNode],
    required: Callable[[Iterable[bool]], bool],
    covering_name: Callable[[set[str]], str],
) -> TypeNode:
    """Return the type that stands for all, list level by list level. ``required`` says if non-null wins or loses."""
    bare = [node.type if isinstance(node, NonNullTypeNode) else node for node in nodes]
    inner = [node.type for node in bare if isinstance(node, ListTypeNode)]
    names = {node.name.value for node in bare if isinstance(node, NamedTypeNode)}
    if inner and names:
        raise _Mismatch
    cover = (
        ListTypeNode(type=_cover(inner, required, covering_name)) if inner else _named(covering_name(names))
    )
    is_required = required(isinstance(node, NonNullTypeNode) for node in nodes)
    return NonNullTypeNode(type=cover) if is_required else cover


def _only_name(names: set[str]) -> str:
    if len(names) > 1:
        raise _Mismatch
    return next(iter(names))


def _by_member(declared: Declared, members: Callable[[Any], Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Turn {subgraph: holder} into {member: {subgraph: member's declaration}}, in order of first appearance."""
    found: dict[str, dict[str, Any]] = {}
    for subgraph, holder in declared.items():
        for name, member in members(holder).items():
            found.setdefault(name, {})[subgraph] = member
    return found


def _union_of(groups: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group))


def _named(name: str) -> NamedTypeNode:
    return NamedTypeNode(name=NameNode(value=name))


def _is_required(node: InputValueDefinitionNode) -> bool:
    return isinstance(node.type, NonNullTypeNode) and node.default_value is None


def _head(name: str, declared: Declared) -> dict[str, Any]:
    nodes = [each.ast_node for each in declared.values() if each.ast_node]
    return {
        "name": NameNode(value=name),
        "description": next((n.description for n in nodes if n.description), None),
    }


def _deprecation(declared: Declared) -> tuple[ConstDirectiveNode, ...]:
    directives = [each for member in declared.values() for each in member.ast_node.directives or ()]
    return tuple(each for each in directives if each.name.value == "deprecated")[:1]
