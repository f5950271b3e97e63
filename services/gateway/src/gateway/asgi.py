"""The few pieces of HTTP that the gateway needs, on bare ASGI: reading a body, answering, request headers, CORS."""

import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, TypeAlias

from gateway.federation import Code, RequestRefused

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

FORWARDED = (b"authorization", b"traceparent", b"idempotency-key")
REQUEST_ID = b"x-request-id"
_REQUEST_ID = re.compile(rb"[\w.:-]{1,128}", re.ASCII)
_ALLOWED_HEADERS = b"authorization, content-type, idempotency-key, traceparent, x-request-id"


async def respond(send: Send, status: int, body: bytes, headers: RawHeaders, media_type: bytes) -> None:
    """Send a whole answer."""
    own = [
        (b"content-type", media_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": own + headers})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Receive, limit: int) -> bytes:
    """Read the request's body; one over the limit (bytes) is refused without reading the rest."""
    chunks: list[bytes] = []
    left = limit
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestRefused(Code.BAD_REQUEST, "The client went away")
        chunk = message.get("body", b"")
        left -= len(chunk)
        if left < 0:
            raise RequestRefused(Code.PAYLOAD_TOO_LARGE, f"The body is over {limit} bytes", status=413)
        chunks.append(chunk)
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def request_id(headers: dict[bytes, bytes]) -> str:
    """Return the caller's request id, or a new one where it gave none or one unfit for logs."""
    given = headers.get(REQUEST_ID, b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def forwarded(headers: dict[bytes, bytes], request: str) -> list[tuple[str, str]]:
    """Return the headers that subgraphs get: those of the allow-list that were given, and the request id."""
    passed = [(name.decode(), headers[name].decode("latin-1")) for name in FORWARDED if name in headers]
    if not all(value.isascii() for _, value in passed):
        raise RequestRefused(Code.BAD_REQUEST, "A header holds characters outside ASCII")
    return [*passed, (REQUEST_ID.decode(), request)]


class Cors:
    """Lets pages of the allowed origins read answers. Tokens travel in a header, so credentials are never allowed."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._all = "*" in origins
        self._origins = {origin.encode() for origin in origins}

    def headers(self, origin: bytes | None) -> RawHeaders:
        """Return what to add to any answer to a request of this origin."""
        vary = [] if self._all or not self._origins else [(b"vary", b"origin")]
        if origin is None or not (self._all or origin in self._origins):
            return vary
        allowed = b"*" if self._all else origin
        return [
            *vary,
            (b"access-control-allow-origin", allowed),
            (b"access-control-expose-headers", REQUEST_ID),
        ]

    def preflight(self, origin: bytes | None) -> tuple[int, RawHeaders]:
        """Return the status and headers that answer an OPTIONS request."""
        headers = self.headers(origin)
        if not any(name == b"access-control-allow-origin" for name, _ in headers):
            return 403, headers
        methods = (b"access-control-allow-methods", b"POST")
        return 200, [
            *headers,
            methods,
            (b"access-control-allow-headers", _ALLOWED_HEADERS),
            (b"access-control-max-age", b"600"),
        ]
