"""Subgraphs in process: the same requests and answers as over HTTP, without sockets.

``SdlSubgraph`` serves federation SDL by plain functions on graphql-core; a Strawberry schema is served as it is.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import orjson
from graphql import (
    ExecutionResult,
    GraphQLObjectType,
    GraphQLResolveInfo,
    build_schema,
    execute,
    is_object_type,
    parse,
    validate,
)

from gateway.client import Client
from gateway.federation import Engine, EngineOptions, compose
from gateway.metrics import Metrics
from gateway.transport import Answer, Headers

Resolver: TypeAlias = Callable[..., Any]
LINK = (
    'extend schema @link(url: "https://specs.apollo.dev/federation/v2.11", import: ["@key", "@shareable"])\n'
)

MACHINERY = """
scalar _Any
type _Service { sdl: String! }
extend type Query { _service: _Service! %s }
%s
"""


class Executable(Protocol):
    """What answers a GraphQL request: ``strawberry.Schema`` is one, ``SdlSubgraph`` another."""

    async def execute(
        self, query: str, variable_values: dict[str, Any] | None = None, operation_name: str | None = None
    ) -> Any:
        """Return a result with ``data`` and ``errors``."""
        ...


class SdlSubgraph:
    """A subgraph from its SDL. Resolvers are keyed ``Type.field`` and called as ``(source, **arguments)``.

    A field without a resolver is read from its source, a dict. ``references`` make an entity of a representation;
    without one, the representation itself is the entity. Both may be changed while serving.
    """

    def __init__(
        self,
        sdl: str,
        resolvers: dict[str, Resolver] | None = None,
        references: dict[str, Resolver] | None = None,
        fallback: Callable[[str, Any, str, dict[str, Any]], Any] | None = None,
    ) -> None:
        self.sdl = sdl if "@link" in sdl else LINK + sdl
        self.resolvers = {} if resolvers is None else resolvers
        self.references = {} if references is None else references
        self._fallback = fallback
        self.schema = self._executable()

    def _executable(self) -> Any:
        plain = build_schema(self.sdl, assume_valid=True, assume_valid_sdl=True)
        entities = [name for name, each in plain.type_map.items() if is_object_type(each) and _has_key(each)]
        fields = "_entities(representations: [_Any!]!): [_Entity]!" if entities else ""
        union = f"union _Entity = {' | '.join(entities)}" if entities else ""
        base = "" if plain.query_type else "type Query\n"
        sdl = base + self.sdl + MACHINERY % (fields, union)
        if plain.query_type and plain.query_type.name != "Query":
            sdl = sdl.replace("extend type Query", f"extend type {plain.query_type.name}")
        return build_schema(sdl, assume_valid=True, assume_valid_sdl=True)

    async def execute(
        self, query: str, variable_values: dict[str, Any] | None = None, operation_name: str | None = None
    ) -> ExecutionResult:
        """Validate and execute one request, as any server does."""
        document = parse(query)
        if problems := validate(self.schema, document):
            return ExecutionResult(None, problems)
        result = execute(
            self.schema,
            document,
            variable_values=variable_values,
            operation_name=operation_name,
            field_resolver=self._resolve,
            type_resolver=lambda value, *_: value["__typename"],
        )
        return await result if inspect.isawaitable(result) else result

    def _resolve(self, source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        name = info.field_name
        if name == "_service":
            return {"sdl": self.sdl}
        if name == "_entities":
            return [self._entity(each) for each in arguments["representations"]]
        if resolver := self.resolvers.get(f"{info.parent_type.name}.{name}"):
            return resolver(source, **arguments)
        if self._fallback and name != "sdl":
            return self._fallback(info.parent_type.name, source, name, arguments)
        return source.get(name) if isinstance(source, dict) else None

    def _entity(self, representation: dict[str, Any]) -> Any:
        reference = self.references.get(representation["__typename"])
        if reference is None:
            return representation
        try:
            found = reference(**{key: value for key, value in representation.items() if key != "__typename"})
        except Exception as problem:  # noqa: BLE001 - graphql-core makes an error at this item of a returned exception
            return problem
        return found and {"__typename": representation["__typename"], **found}


def _has_key(declared: GraphQLObjectType) -> bool:
    nodes = [node for node in (declared.ast_node, *declared.extension_ast_nodes) if node]
    return any(directive.name.value == "key" for node in nodes for directive in node.directives or ())


@dataclass
class InProcess:
    """A transport to subgraphs in process. ``requests`` records what arrived; ``before`` may fail or delay a call."""

    subgraphs: Mapping[str, Executable]
    before: Callable[[str], Awaitable[None]] | None = None
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)

    async def post(self, subgraph: str, body: bytes, headers: Headers) -> Answer:
        """Execute the request and serialise its result, as a subgraph's endpoint does."""
        request = orjson.loads(body)
        if "_service" not in request["query"]:
            self.requests.append((subgraph, request))
            self.headers.append(headers)
        if self.before:
            await self.before(subgraph)
        result = await self.subgraphs[subgraph].execute(
            request["query"], variable_values=request.get("variables")
        )
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = [each.formatted for each in result.errors]
        return Answer(200, orjson.dumps(answer))

    async def close(self) -> None:
        """Nothing is kept open."""


async def engine_over(transport: InProcess, options: EngineOptions | None = None) -> Engine:
    """Compose the transport's subgraphs as the gateway would, and return an engine that asks them."""
    client = Client(transport.subgraphs, transport, Metrics())
    sources = {name: await client.fetch_sdl(name) for name in transport.subgraphs}
    return Engine(compose(sources), client.send, options)


@dataclass(frozen=True)
class HttpAnswer:
    """What an ASGI app answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return orjson.loads(self.body)


async def call(
    app: Any,
    path: str = "/graphql",
    body: bytes | None = None,
    *,
    method: str = "POST",
    client: str = "127.0.0.1",
    **headers: str,
) -> HttpAnswer:
    """Send one request to an ASGI app, from an address; header names are given with underscores."""
    sent: list[Any] = []
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body or b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": raw, "client": (client, 1)}
    await app(scope, receive, send)
    start, *rest = sent
    answered = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return HttpAnswer(start["status"], answered, b"".join(each["body"] for each in rest))
