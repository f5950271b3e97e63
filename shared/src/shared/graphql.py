"""A subgraph's endpoint: one thin ASGI app over a Strawberry schema, with typed errors and a caller in every context.

POST of a JSON object only. A Refusal becomes an error with its closed code; a malformed request is BAD_INPUT; a database that
is away, or an issuer whose key a token needs, is SERVICE_UNAVAILABLE; anything else is masked as INTERNAL and logged under the request's id.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import strawberry
import structlog
from graphql import ExecutionResult, GraphQLError
from starlette.types import Receive, Scope, Send
from strawberry.dataloader import DataLoader

from shared.auth import Authenticator, Principal
from shared.commands import Once
from shared.crash import crash_point
from shared.db import UNAVAILABLE, describe
from shared.errors import Code, Refusal
from shared.execution import Operations
from shared.ids import uuid7

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 1024 * 1024
_JSON = [(b"content-type", b"application/json")]
_STATUS = {Code.UNAUTHENTICATED: 401, Code.SERVICE_UNAVAILABLE: 200}
"""Of a refusal before anything ran, others are 400. That one caller's issuer is away must not open the gateway's breaker for all others."""
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}")


@dataclass(slots=True)
class Context:
    """What a resolver knows: who calls, under which ids, and the service it belongs to."""

    principal: Principal
    correlation_id: str
    idempotency_key: str | None
    service: Any
    loaders: dict[str, DataLoader[Any, Any]] = field(default_factory=dict)

    def loader(self, name: str, load: Callable[[list[Any]], Awaitable[Any]]) -> DataLoader[Any, Any]:
        """The request's loader of that name: many keys, one query."""
        if name not in self.loaders:
            self.loaders[name] = DataLoader(load_fn=load)
        return self.loaders[name]

    def once(self, field_name: str, arguments: Any) -> Once | None:
        """What makes this mutation repeatable, when the caller sent an Idempotency-Key."""
        if self.idempotency_key is None:
            return None
        return Once(self.principal.id, self.idempotency_key, field_name, arguments)


Info = strawberry.Info[Context, None]


class GraphQLEndpoint:
    """ASGI app for POST of `{query, variables, operationName}`."""

    def __init__(self, schema: strawberry.Schema, authenticator: Authenticator, service: object) -> None:
        self._operations, self._authenticator, self._service = Operations(schema), authenticator, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request_id = headers.get("x-request-id", "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = str(uuid7())
        structlog.contextvars.bind_contextvars(correlation_id=request_id)
        try:
            request = _request(scope["method"], await _body(receive))
            context = await self._context(headers, request_id)
        except Refusal as refusal:
            status = _STATUS.get(refusal.code, 400)
            return await _answer(send, status, {"data": None, "errors": [_refused(refusal)]})
        result = await self._operations.execute(
            request["query"], request.get("variables"), request.get("operationName"), context
        )
        try:
            return await _answer(send, 200, _payload(result))
        except TypeError as unwritable:
            # Nothing was sent. A connection that broke off would open the gateway's breaker for everybody.
            fault = GraphQLError("the answer is no JSON", original_error=unwritable)
            return await _answer(send, 200, _payload(ExecutionResult(None, [fault])))

    async def _context(self, headers: Mapping[str, str], request_id: str) -> Context:
        principal = await self._authenticator.authenticate(headers.get("authorization"))
        key = headers.get("idempotency-key")
        if key is not None and not 1 <= len(key) <= 255:  # noqa: PLR2004 - Stripe's bound, the field's habit
            raise Refusal(Code.BAD_INPUT, "Idempotency-Key has 1 to 255 characters")
        return Context(principal, request_id, key, self._service)


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > MAX_BODY_BYTES:
            raise Refusal(Code.BAD_INPUT, f"The request is larger than {MAX_BODY_BYTES} bytes")
        if not message.get("more_body", False):
            return body


def _request(method: str, body: bytes) -> dict[str, Any]:
    if method != "POST":
        raise Refusal(Code.BAD_INPUT, "POST a JSON object")
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as malformed:
        raise Refusal(Code.BAD_INPUT, f"The request is not JSON: {malformed}") from malformed
    if not isinstance(request, dict) or not isinstance(request.get("query"), str):
        raise Refusal(Code.BAD_INPUT, "The request needs a query")
    if not isinstance(request.get("variables") or {}, dict):
        raise Refusal(Code.BAD_INPUT, "variables is an object")
    return request


async def _answer(send: Send, status: int, payload: object) -> None:
    """Raises TypeError, before anything is sent, for what JSON cannot hold."""
    body = orjson.dumps(payload)
    await send({"type": "http.response.start", "status": status, "headers": _JSON})
    await send({"type": "http.response.body", "body": body})
    crash_point("request_answered")


def _payload(result: ExecutionResult) -> dict[str, Any]:
    payload: dict[str, Any] = {"data": result.data}
    if result.errors:
        payload["errors"] = [_error(error) for error in result.errors]
    return payload


def _error(error: GraphQLError) -> dict[str, Any]:
    """The error as the client sees it; what is our fault is logged and masked."""
    original = error.original_error
    if isinstance(original, Refusal):
        shown = _refused(original)
    elif isinstance(original, UNAVAILABLE):
        log.warning("the database is away", path=error.path, reason=describe(original))
        shown = _refused(
            Refusal(Code.SERVICE_UNAVAILABLE, "The service cannot reach its database: try again")
        )
    elif original is None or isinstance(original, GraphQLError):
        shown = {"message": error.message, "extensions": {"code": Code.BAD_INPUT}}
    else:
        log.error("unexpected error", path=error.path, exc_info=original)
        shown = {"message": "Internal error", "extensions": {"code": Code.INTERNAL}}
    if error.path:
        shown["path"] = error.path
    if error.locations:
        shown["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    return shown


def _refused(refusal: Refusal) -> dict[str, Any]:
    return {"message": refusal.message, "extensions": {"code": refusal.code, **refusal.details}}


def iso(at: datetime) -> str:
    """ISO 8601 in UTC, as the graph writes times."""
    in_utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return in_utc.isoformat().replace("+00:00", "Z")


def maybe_iso(at: datetime | None) -> str | None:
    return None if at is None else iso(at)
