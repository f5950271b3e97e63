"""Finishes a plan: settles names in the data, prints each fetch's query, and compiles what runs per request."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson
from graphql import (
    FieldNode,
    GraphQLNonNull,
    OperationDefinitionNode,
    OperationType,
    get_named_type,
    is_abstract_type,
    is_list_type,
    print_ast,
)

from gateway.federation.ir import Block, Draft, Entry, Fetch, KeyPart, Plan, Position, Slot, Stage, Step
from gateway.federation.model import Graph
from gateway.federation.projection import projection

Alias = Callable[[str], str]


def finish(
    graph: Graph,
    operation: OperationDefinitionNode,
    root: Position,
    stages: Sequence[Sequence[Draft]],
    introspection: Sequence[FieldNode],
    alias: Alias,
) -> Plan:
    """Turn planned drafts into a plan that any number of requests can run."""
    _separate(graph, root, alias)
    type_key = alias("type")
    _settle(root)
    printer = _Printer(graph, operation, type_key, alias("representations"))
    finished = tuple(_stage(drafts, printer) for drafts in stages if drafts)
    constants = {slot.source: root.type_name for slot in root.slots if slot.name == "__typename"}
    asked = [slot for slot in root.slots if slot.blocks]
    return Plan(
        root=root,
        is_query=operation.operation is OperationType.QUERY,
        stages=finished,
        type_key=type_key,
        constants=constants,
        introspection=tuple(introspection),
        renamed={slot.source: slot.key for slot in _all_slots(root) if slot.source != slot.key}
        | {type_key: None},
        is_verbatim=len(asked) == len(root.slots)
        and sum(len(stage.fetches) for stage in finished) == 1
        and all(slot.intact for slot in asked),
        project=projection(root, type_key),
        root_fields=tuple(slot.name for slot in asked),
    )


def _all_slots(position: Position) -> Iterable[Slot]:
    for slot in position.slots:
        yield slot
        for child in slot.children.values():
            yield from _all_slots(child)


def _separate(graph: Graph, position: Position, alias: Alias) -> None:
    """Rename slots that share a key under an abstract field, unless every subgraph lets them be merged there.

    ``... on A { id } ... on B { id }`` is valid against the API but not in a subgraph where only one is non-null.
    """
    for slot in position.slots:
        for child in slot.children.values():
            _separate(graph, child, alias)
        first: dict[str, object] = {}
        for child in slot.children.values() if len(slot.children) > 1 else ():
            for other in child.slots:
                shape = _shape(graph, other)
                if first.setdefault(other.source, shape) != shape:
                    other.source = alias(other.source)


def _shape(graph: Graph, slot: Slot) -> object:
    """Everything that decides whether two slots of different types may share a key in a subgraph's query."""
    holder = slot.holder.type_name
    fields = [graph.subgraphs[block.draft.subgraph].field(holder, slot.name) for block in slot.blocks]
    types = frozenset(str(field.type) for field in fields if field)
    below = [
        (name, other.source, _shape(graph, other))
        for name, each in slot.children.items()
        for other in each.slots
    ]
    return types, tuple(below)


def _settle(position: Position) -> None:
    """Note for every slot whether its data can be passed on as it comes, and whether its type must be known."""
    for slot in position.slots:
        for child in slot.children.values():
            _settle(child)
        slot.intact = len(slot.blocks) == 1 and slot.key == slot.source and _is_intact_below(slot)
        slot.typed = is_abstract_type(get_named_type(slot.type)) and not slot.intact


def _is_intact_below(slot: Slot) -> bool:
    asked = [child for child in slot.children.values() if child.locations]
    if not any(child.slots for child in asked):
        return not slot.children  # of an object without any field __typename is asked, which must be hidden
    return all(len(child.locations) == 1 and all(other.intact for other in child.slots) for child in asked)


def _stage(drafts: Sequence[Draft], printer: "_Printer") -> Stage:
    order = {draft: number for number, draft in enumerate(drafts)}
    followers = [tuple(order[other] for other in drafts if draft in other.after) for draft in drafts]
    fetches = tuple(printer.fetch(draft, after) for draft, after in zip(drafts, followers, strict=True))
    return Stage(
        fetches, tuple(slot for draft in drafts if not draft.representation for slot in draft.top.fields)
    )


class _Printer:
    """Prints queries. Variables are declared as the client declares them: a subgraph never demands more."""

    def __init__(
        self, graph: Graph, operation: OperationDefinitionNode, type_key: str, representations: str
    ) -> None:
        self._graph = graph
        self._kind = operation.operation.value
        self._declared = {
            node.variable.name.value: f"${node.variable.name.value}:{print_ast(node.type)}"
            + (f"={print_ast(node.default_value)}" if node.default_value else "")
            for node in operation.variable_definitions or ()
        }
        self._type_key = type_key
        self._representations = representations

    def fetch(self, draft: Draft, followers: tuple[int, ...]) -> Fetch:
        used: set[str] = set()
        selection = self._block(draft.top, used)
        variables = tuple(name for name in self._declared if name in used)
        declared = [self._declared[name] for name in variables]
        kind, entry = self._kind, None
        if draft.representation:
            kind, entry = "query", _entry(draft, self._type_key)
            declared.insert(0, f"${self._representations}:[_Any!]!")
            selection = f"{{_entities(representations:${self._representations}){{...on {draft.at.type_name}{selection}}}}}"
        query = f"{kind}({','.join(declared)}){selection}" if declared else f"{kind}{selection}"
        body = b'{"query":' + orjson.dumps(query)
        if entry:
            body += b',"variables":{"' + self._representations.encode() + b'":['
        return Fetch(
            subgraph=draft.subgraph,
            query=query,
            body=body,
            variables=variables,
            entry=entry,
            keys=tuple(slot.key for slot in draft.top.fields if slot.key is not None),
            overlaps=any(len(slot.blocks) > 1 and slot.children for slot in draft.top.fields),
            waits=len(draft.after),
            followers=followers,
        )

    def _block(self, block: Block, used: set[str]) -> str:
        asked = [slot for slot in block.position.slots if slot in block.fields]
        return "{" + (" ".join(self._field(slot, block, used) for slot in asked) or "__typename") + "}"

    def _field(self, slot: Slot, block: Block, used: set[str]) -> str:
        used |= slot.variables
        alias = "" if slot.source == slot.name else f"{slot.source}:"
        printed = f"{alias}{slot.name}{slot.arguments}"
        if not slot.children:
            return printed
        field = self._graph.subgraphs[block.draft.subgraph].field(block.position.type_name, slot.name)
        is_abstract = field is not None and is_abstract_type(get_named_type(field.type))
        below = [(name, self._block(each, used)) for name, each in block.fields[slot].items() if each.fields]
        parts = [f"...on {name}{text}" if is_abstract else text[1:-1] for name, text in below]
        if slot.typed:
            parts.insert(0, f"{self._type_key}:__typename")
        return f"{printed}{{{' '.join(parts) or '__typename'}}}"


def _entry(draft: Draft, type_key: str) -> Entry:
    steps = []
    position = draft.at
    while position.parent is not None:
        slot = position.parent
        known = type_key if slot.typed else None
        steps.append(Step(slot.source, slot.key, _list_depth(slot.type), known, position.type_name))
        position = slot.holder
    head = b'{"__typename":' + orjson.dumps(draft.at.type_name)
    return Entry(tuple(reversed(steps)), _representation(head, draft.representation))


def _list_depth(of: Any) -> int:
    bare = of.of_type if isinstance(of, GraphQLNonNull) else of
    return 1 + _list_depth(bare.of_type) if is_list_type(bare) else 0


def _representation(head: bytes, parts: tuple[KeyPart, ...]) -> Callable[[dict[str, Any]], bytes | None]:
    """Compile the serialiser of a representation: fixed bytes with the key's values between them."""
    pieces: list[tuple[bytes, str, Callable[[Any], bytes | None]]] = []
    for part in parts:
        comma = b"," if pieces or head != b"{" else b""
        serialise = _representation(b"{", part.nested) if part.nested else orjson.dumps
        pieces.append((comma + orjson.dumps(part.name) + b":", part.slot.source, serialise))

    def represent(data: dict[str, Any]) -> bytes | None:
        representation = head
        for piece, source, serialise in pieces:
            value = data.get(source)
            serialised = None if value is None else serialise(value)
            if serialised is None:
                return None
            representation += piece + serialised
        return representation + b"}"

    return represent
