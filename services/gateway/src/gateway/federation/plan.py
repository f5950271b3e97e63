"""Plans an operation: which subgraph answers which slot, and by which keys the fetches reach each other.

Each slot goes to the subgraph that costs least: a subgraph already answering at the position is free, entering one
by key costs a fetch, and fields left missing below cost a part of one. A subgraph that has no key there may still be
reached by asking the parent field in it (value types, shared root fields).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from graphql import GraphQLObjectType, OperationDefinitionNode, OperationType, get_named_type

from gateway.federation.fetches import finish
from gateway.federation.ir import Block, Draft, KeyPart, Plan, Position, Slot
from gateway.federation.model import FieldSet, Graph, object_type
from gateway.federation.selection import Selection

MISSING_LEAF = 0.6
"""The cost of one leaf that the subgraph cannot answer below a field, in fetches."""


def plan_operation(graph: Graph, operation: OperationDefinitionNode, selection: Selection) -> Plan:
    """Plan a validated operation. The graph is satisfiable, so every selection of its API has a plan."""
    root = selection.root(operation)
    planner = _Planner(graph, selection.keys)
    if operation.operation is OperationType.MUTATION:
        planner.plan_mutation(root)
    else:
        planner.plan_query(root)
    return finish(graph, operation, root, planner.stages, selection.introspection, planner.alias)


@dataclass(frozen=True, slots=True)
class _Route:
    """How to begin answering in a subgraph at a position, and what it costs in fetches."""

    cost: float
    key: FieldSet = ()  # none: by asking the parent field there


class _Planner:
    def __init__(self, graph: Graph, client_keys: set[str]) -> None:
        self.graph = graph
        self.stages: list[list[Draft]] = [[]]
        self._taken = set(client_keys)

    def alias(self, name: str) -> str:
        """Return a name for the data that nothing else in the operation has."""
        number = 1
        while (alias := f"_{number}_{name}") in self._taken:
            number += 1
        self._taken.add(alias)
        return alias

    def plan_query(self, root: Position) -> None:
        self._place(root)

    def plan_mutation(self, root: Position) -> None:
        """Serve root fields strictly one after the other, each with all that follows from it.

        Neighbours in one subgraph share a fetch, since a subgraph runs them in order, unless the first needs more.
        """
        for slot in _asked(root):
            (owner,) = self.graph.resolvers[root.type_name, slot.name]
            stage = self.stages[-1]
            if len(stage) != 1 or stage[0].subgraph != owner:
                if stage:
                    self.stages.append([])
                root.locations.clear()
            self._add(self._open(root, owner), slot)
            self._place_children(slot)

    def _place(self, position: Position) -> None:
        """Choose a subgraph for each slot, those without a choice first: they open the ways that others can use."""
        waiting = [slot for slot in _asked(position) if slot.name != "__typename"]
        resolvers = self.graph.resolvers
        waiting.sort(key=lambda slot: len(resolvers[position.type_name, slot.name]))
        while waiting:
            slot = waiting.pop(0)
            if not slot.blocks:
                self._add(self._open(position, self._choose(position, slot, waiting)), slot)
        self._place_typename(position)
        for slot in list(position.slots):
            self._place_children(slot)

    def _place_typename(self, position: Position) -> None:
        """Every subgraph knows the name of a type, so ask the one that answers the neighbours."""
        neighbours = (block for slot in position.slots for block in slot.blocks)
        block = next(neighbours, None) or next(iter(position.locations.values()), None)
        for slot in _asked(position):
            if slot.name == "__typename" and block:
                self._add(block, slot)

    def _place_children(self, slot: Slot) -> None:
        for child in slot.children.values():
            if child.locations:  # else no subgraph asked ever answers with this type
                self._place(child)

    def _choose(self, position: Position, slot: Slot, waiting: list[Slot]) -> str:
        """Return the cheapest subgraph for a slot; among equals, the one that answers most of what still waits."""
        type_name = position.type_name
        names = self.graph.resolvers[type_name, slot.name]
        if len(names) == 1:
            return names[0]
        ranks: list[tuple[float, int, str]] = []
        for name in names:
            if route := self._route(position, name, frozenset()):
                useful = sum(name in self.graph.resolvers[type_name, other.name] for other in waiting)
                ranks.append((route.cost + MISSING_LEAF * self._missing(slot, name), -useful, name))
        return min(ranks)[2]

    def _missing(self, slot: Slot, subgraph: str) -> int:
        """Count the leaves below a slot that a subgraph answering the slot could not answer."""
        returned = self.graph.subgraphs[subgraph].returned_types(slot.holder.type_name, slot.name)
        below = (other for name, child in slot.children.items() if name in returned for other in child.slots)
        return sum(
            self._missing(other, subgraph)
            if other.name == "__typename"
            or subgraph in self.graph.resolvers[other.holder.type_name, other.name]
            else _leaves(other)
            for other in below
        )

    def _route(
        self, position: Position, target: str, visited: frozenset[tuple[Position, str]]
    ) -> _Route | None:
        """Find the cheapest way to answer at a position in a subgraph."""
        if target in position.locations:
            return _Route(0)
        if position.parent is None:
            return _Route(1)
        if (position, target) in visited:
            return None
        visited |= {(position, target)}
        routes = [
            *self._key_routes(position, target, visited),
            *self._parent_routes(position.parent, target, visited),
        ]
        returned = [route for route in routes if route]
        return min(returned, key=lambda route: route.cost, default=None)

    def _parent_routes(
        self, parent: Slot, target: str, visited: frozenset[tuple[Position, str]]
    ) -> Iterator[_Route]:
        holder = parent.holder
        if target in self.graph.resolvers[holder.type_name, parent.name]:
            route = self._route(holder, target, visited)
            if route:
                yield _Route(route.cost)

    def _key_routes(
        self, position: Position, target: str, visited: frozenset[tuple[Position, str]]
    ) -> Iterator[_Route]:
        for key in self.graph.entries.get(position.type_name, {}).get(target, ()):
            suppliers = [min(self._suppliers(position, part, visited), default=None) for part in key]
            costs = [supplier[0] for supplier in suppliers if supplier]
            if len(costs) == len(key):
                yield _Route(1 + max(costs), key)

    def _suppliers(
        self, position: Position, part: tuple[str, FieldSet], visited: frozenset[tuple[Position, str]]
    ) -> list[tuple[float, bool, str]]:
        """Rank the subgraphs that answer one part of a key by cost; one already asked for it comes first."""
        slot = position.plain_slot(part[0])
        asked = {block.draft.subgraph for block in slot.blocks} if slot else set()
        return [
            (route.cost, name not in asked, name)
            for name in self.graph.resolvers[position.type_name, part[0]]
            if self.graph.subgraphs[name].resolves_all(position.type_name, (part,))
            and (route := self._route(position, name, visited))
        ]

    def _open(self, position: Position, target: str) -> Block:
        """Return the block that answers at a position in a subgraph, planning the fetches that lead there."""
        if target not in position.locations:
            route = self._route(position, target, frozenset())
            if position.parent is None:
                draft = Draft(target, position)
                self.stages[-1].append(draft)
                position.locations[target] = draft.top
            elif route and route.key:
                self._enter(position, target, route.key)
            else:
                self._add(self._open(position.parent.holder, target), position.parent)
        return position.locations[target]

    def _enter(self, position: Position, target: str, key: FieldSet) -> None:
        draft = Draft(target, position)
        visited = frozenset({(position, target)})
        parts = []
        for part in key:
            _, _, supplier = min(self._suppliers(position, part, visited))
            block = self._open(position, supplier)
            parts.append(self._supply(block, part))
            if block.draft not in draft.after:
                draft.after.append(block.draft)
        draft.representation = tuple(parts)
        self.stages[-1].append(draft)
        position.locations[target] = draft.top

    def _supply(self, block: Block, part: tuple[str, FieldSet]) -> KeyPart:
        """Have a block answer one part of a key, in the client's own slot where there is one."""
        name, nested = part
        position = block.position
        slot = position.plain_slot(name) or self._hidden_slot(position, name)
        self._add(block, slot)
        below = next(iter(block.fields[slot].values()), None)
        return KeyPart(name, slot, tuple(self._supply(below, each) for each in nested) if below else ())

    def _hidden_slot(self, position: Position, name: str) -> Slot:
        field = object_type(self.graph.api, position.type_name).fields[name]
        slot = Slot(None, self.alias(name), name, field.type, position)
        named = get_named_type(slot.type)
        if isinstance(named, GraphQLObjectType):
            slot.children[named.name] = Position(named.name, slot)
        position.slots.append(slot)
        return slot

    def _add(self, block: Block, slot: Slot) -> None:
        """Have a block answer a slot; the positions below become answerable in its subgraph."""
        if slot in block.fields:
            return
        subgraph = block.draft.subgraph
        returned = self.graph.subgraphs[subgraph].returned_types(block.position.type_name, slot.name)
        below = {name: Block(block.draft, child) for name, child in slot.children.items() if name in returned}
        for child in below.values():
            child.position.locations.setdefault(subgraph, child)
        block.fields[slot] = below
        slot.blocks.append(block)


def _asked(position: Position) -> list[Slot]:
    """Return the slots that subgraphs must answer: at the root, names beginning with two underscores are ours."""
    return [slot for slot in position.slots if position.parent is not None or not slot.name.startswith("__")]


def _leaves(slot: Slot) -> int:
    below = [other for child in slot.children.values() for other in child.slots]
    return sum(map(_leaves, below)) if below else 1
