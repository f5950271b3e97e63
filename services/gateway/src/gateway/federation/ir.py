"""The planner's own representation: what the client asked, what each fetch asks, and the finished plan.

``Position`` and ``Slot`` are the answer's shape: one position per (path, concrete type), one slot per response field
there. ``Block`` is the part of one fetch that answers at one position. They are written by the planner only; once
a ``Plan`` is made nothing changes any more, so that concurrent requests share it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphql import FieldNode, GraphQLOutputType

Path: TypeAlias = tuple[str | int, ...]


@dataclass(slots=True, eq=False)
class Position:
    """The fields asked of one concrete type at one place of the answer, and the fetches that answer there."""

    type_name: str
    parent: "Slot | None" = None
    slots: "list[Slot]" = field(default_factory=list)
    locations: "dict[str, Block]" = field(default_factory=dict)  # by subgraph

    def plain_slot(self, name: str) -> "Slot | None":
        """Return a slot that holds the field itself, without arguments, under whatever key."""
        return next((slot for slot in self.slots if slot.name == name and not slot.arguments), None)


@dataclass(slots=True, eq=False)
class Slot:
    """One field of the answer. ``key`` is its name there (None: only the gateway needs it), ``source`` in the data."""

    key: str | None
    source: str
    name: str
    type: GraphQLOutputType
    holder: Position
    arguments: str = ""  # as printed in a query, with parentheses
    variables: frozenset[str] = frozenset()
    children: dict[str, Position] = field(default_factory=dict)  # by concrete type
    blocks: "list[Block]" = field(default_factory=list)
    typed: bool = False  # the concrete type must be asked for, under the plan's type key
    intact: bool = False  # one fetch answers all of it, in the very shape that the client asked for


@dataclass(slots=True, eq=False)
class Block:
    """What one fetch asks at one position: slots, each with the blocks of the concrete types below it."""

    draft: "Draft"
    position: Position
    fields: "dict[Slot, dict[str, Block]]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyPart:
    """One field of a representation: its name for the subgraph, and the slot that holds its value."""

    name: str
    slot: Slot
    nested: "tuple[KeyPart, ...]"


@dataclass(slots=True, eq=False)
class Draft:
    """A fetch while it is being planned. ``at`` is the root position, or that of the entities it enters by key."""

    subgraph: str
    at: Position
    top: Block = field(init=False)
    representation: tuple[KeyPart, ...] = ()
    after: "list[Draft]" = field(default_factory=list)

    def __post_init__(self) -> None:
        self.top = Block(self, self.at)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the way from the answer's root to the objects of a position."""

    source: str
    key: str | None
    depth: int  # levels of list
    type_key: str | None  # keep only objects of ``type_name``, which the data holds under this key
    type_name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """How a fetch enters a subgraph: where its entities are, and what identifies one of them."""

    steps: tuple[Step, ...]
    represent: Callable[[dict[str, Any]], bytes | None]  # None: the key is not known, so nothing can be asked


@dataclass(frozen=True, slots=True)
class Fetch:
    """One request to one subgraph, its JSON body serialised up to the variables."""

    subgraph: str
    query: str
    body: bytes
    variables: tuple[str, ...]
    entry: Entry | None
    keys: tuple[str, ...]  # the response keys it answers at its top
    overlaps: bool  # another fetch answers parts of the same objects
    waits: int  # fetches of its stage that must have answered before
    followers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """Fetches that run as one graph; stages run one after the other. ``slots`` are the root fields it completes."""

    fetches: tuple[Fetch, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything needed to answer an operation."""

    root: Position
    is_query: bool
    stages: tuple[Stage, ...]
    type_key: str
    constants: dict[str, str]  # __typename at the root
    introspection: tuple[FieldNode, ...]
    renamed: dict[str, str | None]  # sources that are not response keys; None: hidden from the client
    is_verbatim: bool  # one fetch, whose answer is the answer
    project: Callable[[dict[str, Any]], dict[str, Any]]
    root_fields: tuple[str, ...]  # names of those that subgraphs answer, one for each response key
    costly: int = 0  # how many of them are queries that the engine's options call costly

    @property
    def fetches(self) -> Iterator[Fetch]:
        """All fetches, in the order of their stages."""
        return (fetch for stage in self.stages for fetch in stage.fetches)
