"""The gateway must be invisible: a random graph split over subgraphs answers as graphql-core answers on the whole.

A world is drawn: entities with one or two keys, value types, unions, an interface, enums, arguments, fields that are
null and fields that fail. Every value is a pure function of (type, id, field, arguments), so that each subgraph and the
monolith agree. Then queries are drawn against its API.
"""

import json
import random
import zlib
from dataclasses import dataclass, field
from typing import Any

import orjson
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_composite_type,
    is_list_type,
    is_non_null_type,
    parse,
    validate,
)
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gateway.client import Client
from gateway.federation import Engine, Graph, compose, schema_sdl
from gateway.metrics import Metrics
from gateway.testing import InProcess, SdlSubgraph

SCALARS = ["String", "Int", "Float", "Boolean", "ID", "Color"]
INPUT = "input Filter { size: Int! = 2 tags: [String!] color: Color inner: Filter }\nenum Color { RED GREEN BLUE }\n"


def digest(*parts: object) -> int:
    return zlib.crc32(repr(parts).encode())


@dataclass
class Field:
    name: str
    type: str
    owners: list[str]
    arguments: str = ""
    flaky: bool = False
    loose: str | None = None  # the owner that declares a weaker, nullable type


@dataclass
class World:
    """What is drawn, and the functions that answer for it."""

    draw: random.Random
    subgraphs: list[str] = field(default_factory=list)
    keys: dict[str, dict[str, list[str]]] = field(default_factory=dict)  # entity -> subgraph -> keys
    fields: dict[str, list[Field]] = field(default_factory=dict)
    unions: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def drawn(cls, draw: random.Random) -> "World":
        world = cls(draw)
        world.subgraphs = [f"s{n}" for n in range(draw.randint(2, 4))]
        entities = [f"E{n}" for n in range(draw.randint(2, 4))]
        for entity in entities:
            home, *others = draw.sample(world.subgraphs, draw.randint(1, len(world.subgraphs)))
            world.keys[entity] = {home: ["id", "code"]}
            world.keys[entity] |= {other: draw.choice([["id"], ["code"], ["code", "id"]]) for other in others}
        world.unions = {f"U{n}": draw.sample(entities, draw.randint(1, len(entities))) for n in range(2)}
        world.unions["U1"].append("V")
        for entity in entities:
            fields = [world.field(f"f{n}", list(world.keys[entity])) for n in range(draw.randint(2, 6))]
            world.fields[entity] = [
                *fields,
                *world.split_value(entity),
                world.same_key(list(world.keys[entity])),
            ]
        world.fields["V"] = [Field("a", "Int!", []), Field("b", "String", []), world.field("deep", [])]
        world.fields["Split"] = []
        world.fields["Query"] = [world.root(n) for n in range(draw.randint(2, 5))]
        return world

    def field(self, name: str, declaring: list[str]) -> Field:
        """Draw a field for one of the declaring subgraphs, or for several that share it."""
        draw = self.draw
        kind = draw.choice(["scalar", "scalar", "scalar", "echo", "value", "entity", "entity", "union"])
        if not declaring:
            kind = "scalar"
        owners = draw.sample(declaring, min(len(declaring), draw.choice([1, 1, 2])))
        flaky = draw.random() < 0.15
        match kind:
            case "scalar":
                named = draw.choice(SCALARS)
            case "echo":
                return Field(name, "String", owners, "(x: Int = 3, filter: Filter, many: [[Int!]])", flaky)
            case "value":
                named = "V"
            case "entity":
                named, owners = draw.choice([*self.keys, *(["Node"] if self.nodes else [])]), owners[:1]
            case _:
                named, owners = draw.choice(list(self.unions)), owners[:1]
        wrapped = draw.choice(["{}", "{}", "{}!", "[{}]", "[{}!]", "[{}!]!", "[[{}!]!]"]).format(named)
        loose = owners[-1] if len(owners) > 1 and wrapped.endswith("!") and draw.random() < 0.5 else None
        # A strict owner's failure nulls more than the merged, weaker type asks for: there the whole may differ.
        return Field(name, wrapped, owners, "", flaky and not loose, loose)

    def same_key(self, declaring: list[str]) -> Field:
        """Draw a field whose type agrees between entities in the API, but not in every subgraph."""
        owners = declaring[: self.draw.choice([1, 2])]
        shared = len(owners) > 1
        return Field("same", "Int!" if shared else "Int", owners, loose=owners[-1] if shared else None)

    def split_value(self, entity: str) -> list[Field]:
        """Draw a value that two subgraphs know different fields of: it must be asked in both."""
        owners = list(self.keys[entity])[:2]
        if len(owners) < 2 or "Split" in self.fields or self.draw.random() < 0.5:
            return []
        self.fields["Split"] = []
        self.split = dict(zip(["left", "right"], owners, strict=True))
        return [Field("split", self.draw.choice(["Split", "Split!", "[Split!]"]), owners)]

    def root(self, number: int) -> Field:
        entity = self.draw.choice([*self.keys])
        declaring = list(self.keys[entity])
        owners = self.draw.sample(declaring, min(len(declaring), self.draw.choice([1, 1, 2])))
        wrapped = self.draw.choice(["{}", "{}!", "[{}!]!", "[{}]"]).format(entity)
        return Field(f"q{number}", wrapped, owners, "(n: Int = 1)")

    def sdl(self, subgraph: str) -> str:
        """Return one subgraph's SDL: its own fields, and a stub for every entity that they refer to."""
        lines = [INPUT]
        used = {"V"} | {name for name, keys in self.keys.items() if subgraph in keys}
        own = {
            name: [each for each in fields if subgraph in each.owners] for name, fields in self.fields.items()
        }
        waiting = [bare(each.type) for fields in own.values() for each in fields]
        while waiting:
            name = waiting.pop()
            if name not in used:
                used.add(name)
                waiting += self.unions.get(name, list(self.keys) if name == "Node" else [])
        for entity, keys in self.keys.items():
            if entity in used:
                shown = keys.get(subgraph, ["id"])
                node = " implements Node" if "Node" in used and "id" in shown else ""
                head = " ".join(
                    f'@key(fields: "{key}"{"" if subgraph in keys else ", resolvable: false"})'
                    for key in shown
                )
                lines.append(f"type {entity}{node} {head} {{ {self.members(entity, subgraph, shown)} }}")
        lines.append(f"type V @shareable {{ a: Int! b: String deep: {self.fields['V'][2].type} }}")
        lines += [
            f"union {name} = {' | '.join(members)}" for name, members in self.unions.items() if name in used
        ]
        lines += ["interface Node { id: ID! }"] if "Node" in used else []
        sides = [side for side, owner in getattr(self, "split", {}).items() if owner == subgraph]
        lines += [f"type Split @shareable {{ {side}: Int! both: String }}" for side in sides]
        if own["Query"]:
            lines.append(f"type Query {{ {self.members('Query', subgraph, [])} }}")
        return "\n".join(lines)

    def members(self, owner: str, subgraph: str, keys: list[str]) -> str:
        parts = [{"id": "id: ID!", "code": "code: String!"}[key] for key in keys]
        for each in self.fields[owner]:
            if subgraph in each.owners:
                declared = each.type.removesuffix("!") if each.loose == subgraph else each.type
                share = " @shareable" if len(each.owners) > 1 else ""
                parts.append(f"{each.name}{each.arguments}: {declared}{share}")
        return " ".join(parts)

    def answer(self, owner: str, source: Any, name: str, arguments: dict[str, Any]) -> Any:
        """Resolve any field in any subgraph, and in the monolith."""
        identity = str(source.get("id") or source["code"][1:]) if source else ""
        if name in {"id", "code"}:
            return identity if name == "id" else f"c{identity}"
        known = next((each for each in self.fields[owner] if each.name == name), None)
        seed = digest(owner, identity, name, json.dumps(arguments, sort_keys=True, default=str))
        if known and known.flaky and seed % 3 == 0:
            raise ValueError(f"{owner}.{name} of {identity} fails")
        declared = known.type if known else {"both": "String"}.get(name, "Int!")
        return self.value(
            declared, seed, json.dumps(arguments, sort_keys=True) if known and known.arguments else ""
        )

    def value(self, declared: str, seed: int, echo: str) -> Any:
        if declared.endswith("!"):
            return self.present(declared[:-1], seed, echo)
        return None if seed % 7 == 0 else self.present(declared, seed, echo)

    def present(self, declared: str, seed: int, echo: str) -> Any:
        if declared.startswith("["):
            return [self.value(declared[1:-1], digest(seed, n), echo) for n in range(seed % 4)]
        leaves = {
            "Int": seed % 1000,
            "ID": seed % 1000,
            "String": echo or f"t{seed % 1000}",
            "Float": seed % 100 / 4,
            "Boolean": seed % 2 == 0,
            "Color": ["RED", "GREEN", "BLUE"][seed % 3],
        }
        if declared in leaves:
            return leaves[declared]
        if declared == "Node":
            declared = self.nodes[seed % len(self.nodes)]
        members = self.unions.get(declared, [declared])
        return {"__typename": members[seed % len(members)], "id": str(seed % 5)}

    @property
    def nodes(self) -> list[str]:
        """The entities that are a Node in every subgraph; one known by its code alone is not."""
        return [name for name, keys in self.keys.items() if all("id" in each for each in keys.values())]


def bare(declared: str) -> str:
    return declared.strip("[]!")


class Queries:
    """Draws a query against an API, with its variables."""

    def __init__(self, draw: random.Random, api: GraphQLSchema) -> None:
        self.draw, self.api = draw, api
        self.declared: list[str] = []
        self.values: dict[str, Any] = {}
        self.fragments: list[str] = []
        self.aliases = 0

    def document(self) -> str:
        assert self.api.query_type
        selection = self.selection(self.api.query_type, 0)
        head = f"query({', '.join(self.declared)})" if self.declared else "query"
        return "\n".join([f"{head} {selection}", *self.fragments])

    def selection(self, holder: Any, depth: int) -> str:
        draw = self.draw
        parts = [f"__typename{self.condition()}"] if draw.random() < 0.2 else []
        if is_abstract_type(holder):
            members = [each for each in self.api.get_possible_types(holder) if draw.random() < 0.7]
            parts += [
                f"... on {each.name}{self.condition()} {self.selection(each, depth)}" for each in members
            ]
            fields = getattr(holder, "fields", {})
        else:
            fields = holder.fields
        names = [
            name for name in fields if depth < 4 or not is_composite_type(get_named_type(fields[name].type))
        ]
        chosen = [draw.choice(names) for _ in range(draw.randint(1, 4))] if names else []
        for name in dict.fromkeys(chosen):
            parts += [self.field(name, fields[name], depth) for _ in range(draw.choice([1, 1, 1, 2]))]
        text = "{ " + (" ".join(parts) or "__typename") + " }"
        if draw.random() < 0.1 and not is_root(self.api, holder):
            self.fragments.append(f"fragment F{len(self.fragments)} on {holder.name} {text}")
            return f"{{ ...F{len(self.fragments) - 1} }}"
        return text

    def field(self, name: str, declared: GraphQLField, depth: int) -> str:
        alias = ""
        if declared.args or self.draw.random() < 0.25:
            self.aliases += 1
            alias = f"a{self.aliases}: " if declared.args or self.draw.random() < 0.5 else f"_1_{name}: "
        arguments = [
            f"{argument}: {self.argument(each.type)}"
            for argument, each in declared.args.items()
            if self.draw.random() < 0.6
        ]
        printed = f"({', '.join(arguments)})" if arguments else ""
        named = get_named_type(declared.type)
        below = f" {self.selection(named, depth + 1)}" if is_composite_type(named) else ""
        return f"{alias}{name}{printed}{self.condition()}{below}"

    def condition(self) -> str:
        if self.draw.random() < 0.9:
            return ""
        directive, value = self.draw.choice(["skip", "include"]), self.draw.random() < 0.5
        return f" @{directive}(if: {self.variable('Boolean!', value) if self.draw.random() < 0.7 else json.dumps(value)})"

    def argument(self, declared: Any) -> str:
        value = self.input_value(declared)
        if self.draw.random() < 0.4:
            return self.variable(str(declared), value)
        return literal(value, declared)

    def variable(self, declared: str, value: Any) -> str:
        name = f"v{len(self.declared)}"
        shape = self.draw.choice(["given", "given", "default", "absent"])
        if shape == "default":
            text = literal(value, self.input_type(declared))
            self.declared.append(f"${name}: {declared} = {text}")
        else:
            self.declared.append(f"${name}: {declared}")
        if shape == "given" or (shape == "absent" and declared.endswith("!")):
            self.values[name] = value
        return f"${name}"

    def input_type(self, declared: str) -> Any:
        return self.api.type_map["Filter"] if declared == "Filter" else None

    def input_value(self, declared: Any, depth: int = 0) -> Any:
        if is_non_null_type(declared):
            return self.present_value(declared.of_type, depth)
        return None if depth and self.draw.random() < 0.2 else self.present_value(declared, depth)

    def present_value(self, declared: Any, depth: int) -> Any:
        draw = self.draw
        if is_list_type(declared):
            return [self.input_value(declared.of_type, depth + 1) for _ in range(draw.randint(0, 2))]
        if isinstance(declared, GraphQLEnumType):
            return draw.choice(["RED", "GREEN"])
        if isinstance(declared, GraphQLInputObjectType):
            names = [
                name for name in declared.fields if draw.random() < 0.5 and (name != "inner" or depth < 2)
            ]
            return {name: self.input_value(declared.fields[name].type, depth + 1) for name in names}
        return draw.randint(-9, 99) if declared.name == "Int" else draw.choice(["", 'a"b\\', "ü\n", "{}"])


def literal(value: Any, declared: Any) -> str:
    """Print a value as GraphQL; an enum's value goes without quotes."""
    named: GraphQLNamedType | None = get_named_type(declared) if declared is not None else None
    if isinstance(value, dict):
        fields = named.fields if isinstance(named, GraphQLInputObjectType) else {}
        return (
            "{" + ", ".join(f"{key}: {literal(each, fields[key].type)}" for key, each in value.items()) + "}"
        )
    if isinstance(value, list):
        inner = get_nullable_type(declared).of_type if is_list_type(get_nullable_type(declared)) else None
        return "[" + ", ".join(literal(each, inner) for each in value) + "]"
    return str(value) if isinstance(named, GraphQLEnumType) and value is not None else json.dumps(value)


def is_root(api: GraphQLSchema, holder: GraphQLNamedType) -> bool:
    return isinstance(holder, GraphQLObjectType) and holder is api.query_type


def nulls(answer: dict[str, Any]) -> set[tuple[Any, ...]]:
    """Return where errors made the data null: (path of the null, message where it is the failing field itself)."""
    found = set()
    for error in answer.get("errors") or ():
        value, path = answer["data"], list(error["path"])
        at: list[Any] = []
        while value is not None and path:
            at.append(path.pop(0))
            value = value[at[-1]]
        found.add((tuple(at), None if path else error["message"]))
    return found


async def answers(world: World, graph: Graph, subgraphs: dict[str, SdlSubgraph], queries: int) -> None:
    transport = InProcess(subgraphs)
    engine = Engine(graph, Client(subgraphs, transport, Metrics()).send)
    monolith = SdlSubgraph(schema_sdl(graph), fallback=world.answer)
    for _ in range(queries):
        drawn = Queries(world.draw, graph.api)
        text = drawn.document()
        if validate(graph.api, parse(text)):
            continue
        expected = await monolith.execute(text, drawn.values)
        given_answer = orjson.loads(await engine.execute(text, drawn.values))
        whole = {"data": expected.data, "errors": [each.formatted for each in expected.errors or ()]}
        seen = f"{text}\n{drawn.values}\n{given_answer.get('errors')}\n{whole['errors']}"
        assert orjson.dumps(given_answer["data"]) == orjson.dumps(expected.data), seen
        assert nulls(given_answer) == nulls(whole), seen


async def check(draw: random.Random, queries: int) -> None:
    world = World.drawn(draw)
    subgraphs = {name: SdlSubgraph(world.sdl(name), fallback=world.answer) for name in world.subgraphs}
    await answers(world, compose({name: each.sdl for name, each in subgraphs.items()}), subgraphs, queries)


# A seed is drawn instead of every choice: worlds do not shrink to anything telling, and drawing them is most of the time.
@settings(max_examples=40, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32 - 1))
async def test_any_split_of_a_graph_answers_like_the_whole(seed: int) -> None:
    await check(random.Random(seed), queries=5)
