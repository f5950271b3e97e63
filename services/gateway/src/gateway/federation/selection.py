"""Turns a validated operation into positions and slots: fragments expanded, equal fields merged, conditions decided.

``@skip`` and ``@include`` are decided here, so that a plan never meets them: a plan is made (and cached) per
combination of the variables that they read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from graphql import (
    BooleanValueNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLString,
    InlineFragmentNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    is_abstract_type,
    print_ast,
)

from gateway.federation.errors import Code, RequestRefused
from gateway.federation.ir import Position, Slot


class Selection:
    """The expanded selection of one operation. ``keys`` are all response keys that the client uses in it."""

    def __init__(
        self,
        api: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        conditions: Mapping[str, bool],
        max_slots: int,
    ) -> None:
        self._api = api
        self._fragments = fragments
        self._conditions = conditions
        self._left = max_slots
        self.keys: set[str] = set()
        self.introspection: list[FieldNode] = []

    def root(self, operation: OperationDefinitionNode) -> Position:
        """Expand the operation. Types multiply under abstract fields, so a selection too large to plan is refused."""
        root = self._api.get_root_type(operation.operation)
        return self._position(cast("GraphQLObjectType", root), [operation.selection_set], None)

    def _position(
        self, holder: GraphQLObjectType, sets: Iterable[SelectionSetNode], parent: Slot | None
    ) -> Position:
        position = Position(holder.name, parent)
        fields: dict[str, list[FieldNode]] = {}
        seen: set[str] = set()
        for selection_set in sets:
            for node in self._fields(holder, selection_set.selections, seen):
                fields.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
        position.slots = [self._slot(position, holder, key, nodes) for key, nodes in fields.items()]
        return position

    def _fields(
        self, holder: GraphQLObjectType, nodes: Iterable[SelectionNode], seen: set[str]
    ) -> Iterator[FieldNode]:
        for node in nodes:
            if not self._is_included(node):
                continue
            if isinstance(node, FieldNode):
                yield node
            elif isinstance(node, InlineFragmentNode):
                if node.type_condition is None or self._applies(node.type_condition.name.value, holder):
                    yield from self._fields(holder, node.selection_set.selections, seen)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                seen.add(node.name.value)
                fragment = self._fragments[node.name.value]
                if self._applies(fragment.type_condition.name.value, holder):
                    yield from self._fields(holder, fragment.selection_set.selections, seen)

    def _is_included(self, node: SelectionNode) -> bool:
        for directive in node.directives or ():
            wanted = directive.name.value == "include"
            if wanted or directive.name.value == "skip":
                value = cast("BooleanValueNode | VariableNode", (directive.arguments or ())[0].value)
                decided = (
                    self._conditions[value.name.value] if isinstance(value, VariableNode) else value.value
                )
                if decided is not wanted:
                    return False
        return True

    def _applies(self, condition: str, holder: GraphQLObjectType) -> bool:
        if condition == holder.name:
            return True
        declared = self._api.type_map[condition]
        return is_abstract_type(declared) and self._api.is_sub_type(declared, holder)

    def _slot(
        self, position: Position, holder: GraphQLObjectType, key: str, nodes: Sequence[FieldNode]
    ) -> Slot:
        self._left -= 1
        if self._left < 0:
            raise RequestRefused(
                Code.QUERY_TOO_COMPLEX, "The query selects too many fields of too many types"
            )
        self.keys.add(key)
        node = nodes[0]
        name = node.name.value
        if name in {"__schema", "__type"}:
            self.introspection += nodes
        field_type: GraphQLOutputType = GraphQLString if name.startswith("__") else holder.fields[name].type
        slot = Slot(key, key, name, field_type, position, *_printed_arguments(node))
        named = get_named_type(field_type)
        possible = self._api.get_possible_types(named) if is_abstract_type(named) else (named,)
        for concrete in possible:
            if isinstance(concrete, GraphQLObjectType):
                sets = [each.selection_set for each in nodes if each.selection_set]
                slot.children[concrete.name] = self._position(concrete, sets, slot)
        return slot


def _printed_arguments(node: FieldNode) -> tuple[str, frozenset[str]]:
    printed = ",".join(f"{each.name.value}:{print_ast(each.value)}" for each in node.arguments or ())
    used = frozenset(name for each in node.arguments or () for name in used_variables(each.value))
    return f"({printed})" if printed else "", used


def used_variables(value: ValueNode) -> Iterator[str]:
    """Yield the names of the variables in a value, however deep."""
    if isinstance(value, VariableNode):
        yield value.name.value
    elif isinstance(value, ListValueNode):
        for item in value.values or ():
            yield from used_variables(item)
    elif isinstance(value, ObjectValueNode):
        for field in value.fields or ():
            yield from used_variables(field.value)
