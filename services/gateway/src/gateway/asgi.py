"""The few pieces of HTTP that the gateway needs, on bare ASGI: reading a body, answering, request headers, CORS."""

import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, TypeAlias

import orjson

from gateway.federation import Code, RequestRefused

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

JSON = b"application/json"
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


async def refuse(send: Send, refused: RequestRefused, headers: RawHeaders) -> None:
    """Send a refusal, in the shape that every error has."""
    body = orjson.dumps({"errors": refused.errors})
    await respond(send, refused.status, body, [*headers, *refused.headers], JSON)


def must_be(method: str, *allowed: str) -> None:
    """Raise ``RequestRefused`` (405) for another method than the allowed ones."""
    if method not in allowed:
        raise RequestRefused(
            Code.BAD_REQUEST,
            f"{method} is not served here",
            status=405,
            headers=[(b"allow", ", ".join(allowed).encode())],
        )


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


def client_address(scope: Scope, trusted_proxies: int) -> str:
    """Return where a request comes from, as far as that is known for sure; of IPv6 the network of a household (/64).

    It is the socket's peer, or behind ``trusted_proxies`` what the outermost of them saw: each adds its own peer to the end of
    X-Forwarded-For, so all that the client wrote there itself is further in front and does not count.
    """
    peer: str = (scope.get("client") or ("",))[0]
    given = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    entries = given.decode("latin-1").split(",") if given else []
    if not 0 < trusted_proxies <= len(entries):
        return _network(_ip(peer)) or peer
    return _network(_ip(entries[-trusted_proxies].strip())) or _network(_ip(peer)) or peer


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address of ``1.2.3.4``, ``1.2.3.4:5``, ``::1`` or ``[::1]:5``."""
    bare = text[1:].partition("]")[0] if text.startswith("[") else text
    bare = bare.partition(":")[0] if bare.count(":") == 1 else bare
    try:
        return ip_address(bare)
    except ValueError:
        return None


def _network(address: IPv4Address | IPv6Address | None) -> str | None:
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else address.packed[:8].hex(":", 2)
    return str(address) if address else None


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
            (b"access-control-expose-headers", REQUEST_ID + b", retry-after, content-disposition"),
        ]

    def preflight(self, origin: bytes | None, method: bytes) -> tuple[int, RawHeaders]:
        """Return the status and headers that answer an OPTIONS request."""
        headers = self.headers(origin)
        if not any(name == b"access-control-allow-origin" for name, _ in headers):
            return 403, headers
        methods = (b"access-control-allow-methods", method)
        return 200, [
            *headers,
            methods,
            (b"access-control-allow-headers", _ALLOWED_HEADERS),
            (b"access-control-max-age", b"600"),
        ]
