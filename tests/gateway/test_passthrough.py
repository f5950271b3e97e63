"""What is passed through, between a real service and a real client: slowly, largely, and when either goes away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from gateway.app import Gateway
from gateway.auth import Unauthenticated
from gateway.settings import Settings
from gateway.testing import InProcess, SdlSubgraph, call
from shared.testing import free_socket, serving, url_of

PATH = "/exports/things.csv"
TYPE = (b"content-type", b"text/csv")
Asgi = Callable[[Any, Any, Any], Awaitable[None]]


class Gate(asyncio.Semaphore):
    """Closed; each release lets one chunk through."""

    def __init__(self) -> None:
        super().__init__(0)

    def open(self, times: int = 1) -> None:
        for _ in range(times):
            self.release()


@dataclass
class Upstream:
    """A service that answers with `chunks`, each when `go` lets it, and says when its caller went away."""

    chunks: list[bytes] = field(default_factory=lambda: [b"a,b\r\n", b"1,2\r\n"])
    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=lambda: [TYPE])
    breaks: bool = False
    go: Gate = field(default_factory=Gate)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[Any] = field(default_factory=list)
    sent: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.requests.append(scope)
        self.asked.set()
        answering, leaving = (
            asyncio.create_task(self._answer(send)),
            asyncio.create_task(self._leave(receive)),
        )
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        answering.cancel()
        leaving.cancel()

    async def _leave(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()

    async def _answer(self, send: Any) -> None:
        await self.go.acquire()
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        for number, chunk in enumerate(self.chunks):
            if number:
                await self.go.acquire()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            self.sent += len(chunk)
        if not self.breaks:
            await send({"type": "http.response.body", "body": b""})


@dataclass
class Client:
    """One connection to the gateway."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def get(self, target: str = PATH, **headers: str) -> None:
        given = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.writer.write(f"GET {target} HTTP/1.1\r\nhost: x\r\n{given}\r\n".encode())
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        status, *lines = (await soon(self.reader.readuntil(b"\r\n\r\n"))).decode().strip().split("\r\n")
        return int(status.split(" ")[1]), dict(line.lower().split(": ", 1) for line in lines)

    async def chunk(self) -> bytes:
        """The next of a chunked body; empty at its end."""
        length = int(await soon(self.reader.readuntil(b"\r\n")), 16)
        chunk: bytes = await soon(self.reader.readexactly(length + 2))
        return chunk[:-2]

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """One that is short, JSON and has a length."""
        status, headers = await self.head()
        return (
            status,
            headers,
            orjson.loads(await soon(self.reader.readexactly(int(headers["content-length"])))),
        )


async def soon(what: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(what, 20)


async def authenticate(authorization: str | None) -> bool:
    if authorization == "Bearer bad":
        raise Unauthenticated
    return authorization is not None


@asynccontextmanager
async def passing(upstream: Asgi | None, **more: Any) -> AsyncIterator[tuple[Client, Gateway]]:
    """A gateway in front of a service, or of a port that nobody listens at, and a client of it."""
    async with AsyncExitStack() as stack:
        sock = free_socket()
        url = url_of(sock) + "/deep/things.csv"
        if upstream is not None:
            await stack.enter_async_context(serving(upstream, sock))
        else:
            sock.close()
        settings = Settings(subgraphs={"s": "http://127.0.0.1:1/graphql"}, passthrough={PATH: url}, **more)
        transport = InProcess({"s": SdlSubgraph("type Query { a: Int }")})
        app = Gateway(settings, authenticate=authenticate, connect=lambda: transport)
        front = free_socket()
        await stack.enter_async_context(serving(app, front))
        reader, writer = await asyncio.open_connection(*front.getsockname())
        stack.callback(writer.close)
        yield Client(reader, writer), app


async def test_an_answer_arrives_chunk_by_chunk_while_it_is_made() -> None:
    disposition = (b"content-disposition", b'attachment; filename="things.csv"')
    upstream = Upstream(headers=[TYPE, disposition, (b"set-cookie", b"a=b"), (b"x-internal", b"1")])
    async with passing(upstream) as (client, _):
        await client.get()
        upstream.go.open()
        status, headers = await client.head()
        assert status == 200
        assert headers["content-type"] == "text/csv"
        assert headers["content-disposition"] == 'attachment; filename="things.csv"'
        assert headers["cache-control"] == "no-store"
        assert len(headers["x-request-id"]) == 32
        assert not {"set-cookie", "x-internal"} & set(headers)
        assert await client.chunk() == b"a,b\r\n"  # the second one is not made yet
        upstream.go.open()
        assert [await client.chunk(), await client.chunk()] == [b"1,2\r\n", b""]


async def test_the_service_gets_the_query_and_of_the_headers_three() -> None:
    upstream = Upstream()
    async with passing(upstream) as (client, _):
        given = {
            "authorization": "Bearer x",
            "traceparent": "00-1-2-01",
            "x_request_id": "r-1",
            "cookie": "a=b",
            "idempotency_key": "k",
            "x_forwarded_for": "1.2.3.4",
        }
        await client.get(f"{PATH}?status=PAID&search=a%20b%26c", **given)
        await soon(upstream.asked.wait())
        upstream.go.open(2)
    (scope,) = upstream.requests
    assert (scope["method"], scope["path"]) == ("GET", "/deep/things.csv")
    assert scope["query_string"] == b"status=PAID&search=a%20b%26c"
    shown = {name.decode(): value.decode() for name, value in scope["headers"]}
    assert {name: shown.pop(name) for name in ("authorization", "traceparent", "x-request-id")} == {
        "authorization": "Bearer x",
        "traceparent": "00-1-2-01",
        "x-request-id": "r-1",
    }
    assert set(shown) <= {"host", "accept", "user-agent"}


async def test_a_refusal_of_the_service_passes_as_it_is() -> None:
    upstream = Upstream([b'{"errors":[]}'], 403, [(b"content-type", b"application/json")])
    upstream.go.open()
    async with passing(upstream) as (client, _):
        await client.get()
        assert (await client.head())[0] == 403
        assert await client.chunk() == b'{"errors":[]}'


async def test_a_token_that_does_not_verify_is_refused_before_the_service_is_asked() -> None:
    upstream = Upstream()
    async with passing(upstream) as (client, _):
        await client.get(authorization="Bearer bad")
        status, _, body = await client.answer()
    assert (status, body["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED")
    assert upstream.requests == []


async def test_a_service_that_is_away_is_an_error_with_a_code() -> None:
    async with passing(None) as (client, _):
        await client.get()
        status, _, body = await client.answer()
    assert (status, body["errors"][0]["extensions"]["code"]) == (503, "SERVICE_UNAVAILABLE")


@pytest.mark.parametrize(
    ("begun", "expected"), [(b"", 503), (b"HTTP/1.1 200 OK\r\ncontent", 503), (b"garbage\r\n\r\n", 502)]
)
async def test_a_service_that_closes_before_it_answers_or_speaks_no_http_is_an_error_with_a_code(
    begun: bytes, expected: int
) -> None:
    async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begun)
        writer.close()

    server = await asyncio.start_server(closes, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    settings = Settings(subgraphs={"s": "http://127.0.0.1:1/graphql"}, passthrough={PATH: url})
    app = Gateway(settings, connect=lambda: InProcess({}))
    async with serving(app, front := free_socket()):
        client = Client(*await asyncio.open_connection(*front.getsockname()))
        await client.get()
        status, _, body = await client.answer()
        client.writer.close()
    server.close()
    assert (status, body["errors"][0]["extensions"]["code"]) == (expected, "SERVICE_UNAVAILABLE")


async def test_an_answer_must_begin_in_time_and_then_takes_what_it_takes() -> None:
    upstream = Upstream()
    async with passing(upstream, subgraph_timeout=0.5) as (client, _):
        await client.get()
        status, _, body = await client.answer()
        assert (status, body["errors"][0]["extensions"]["code"]) == (504, "SERVICE_TIMEOUT")
        upstream.go.open()  # the answer that was given up begins, and is let go of
        await soon(upstream.left.wait())
        await client.get()
        upstream.go.open()
        assert (await client.head())[0] == 200
        assert await client.chunk() == b"a,b\r\n"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 1)  # twice the timeout, and it lives
        upstream.go.open()
        assert [await client.chunk(), await client.chunk()] == [b"1,2\r\n", b""]


async def test_an_answer_that_breaks_off_does_not_look_complete() -> None:
    upstream = Upstream(breaks=True)
    upstream.go.open(2)
    async with passing(upstream) as (client, app):
        await client.get()
        await client.head()
        rest = await soon(client.reader.read())
        assert not rest.endswith(b"0\r\n\r\n")
        assert (
            f'gateway_passthroughs_total{{outcome="cut",path="{PATH}"}} 1.0'
            in app.metrics.exposition().decode()
        )


async def test_the_service_is_let_go_of_when_the_client_leaves() -> None:
    upstream = Upstream()
    async with passing(upstream) as (client, app):
        await client.get()
        upstream.go.open()
        await client.head()
        assert await client.chunk() == b"a,b\r\n"
        client.writer.close()
        await soon(upstream.left.wait())
        assert (
            f'gateway_passthroughs_total{{outcome="gone",path="{PATH}"}} 1.0'
            in app.metrics.exposition().decode()
        )


async def test_a_slow_client_slows_the_service_down_and_fills_no_memory() -> None:
    """64 MB wait in the service while nobody reads."""
    upstream = Upstream([b"x" * 2**20] * 64)
    upstream.go.open(64)
    async with passing(upstream) as (client, _):
        await client.get()
        await client.head()
        before = -1
        while upstream.sent != before:  # until it stands still
            before = upstream.sent
            await asyncio.sleep(0.3)
        assert upstream.sent < 32 * 2**20
        total = 0
        while chunk := await client.chunk():
            total += len(chunk)
        assert total == 64 * 2**20


async def test_only_get_of_the_very_path_is_served() -> None:
    settings = Settings(
        subgraphs={"s": "http://127.0.0.1:1/graphql"}, passthrough={PATH: "http://127.0.0.1:1/x"}
    )
    app = Gateway(settings)
    refused = await call(app, PATH, method="POST")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, OPTIONS")
    assert (await call(app, f"{PATH}/more", method="GET")).status == 404
    assert (await call(app, PATH, method="GET")).status == 503


async def test_the_unforeseen_is_masked_and_counted() -> None:
    async def explode(_: str | None) -> bool:
        raise RuntimeError("secret")

    settings = Settings(
        subgraphs={"s": "http://127.0.0.1:1/graphql"}, passthrough={PATH: "http://127.0.0.1:1/x"}
    )
    app = Gateway(settings, authenticate=explode)
    answer = await call(app, PATH, method="GET", x_request_id="r-1")
    assert (answer.status, answer.headers["x-request-id"]) == (500, "r-1")
    assert answer.json == {"errors": [{"message": "Internal error", "extensions": {"code": "INTERNAL"}}]}
    counted = f'gateway_passthroughs_total{{outcome="INTERNAL",path="{PATH}"}} 1.0'
    assert counted in app.metrics.exposition().decode()


async def test_a_page_of_an_allowed_origin_may_ask_and_read_the_file_s_name() -> None:
    settings = Settings(
        subgraphs={"s": "http://127.0.0.1:1/graphql"},
        passthrough={PATH: "http://127.0.0.1:1/x"},
        cors_origins=("https://shop.example",),
    )
    app = Gateway(settings)
    preflight = await call(app, PATH, method="OPTIONS", origin="https://shop.example")
    assert preflight.headers["access-control-allow-methods"] == "GET"
    answer = await call(app, PATH, method="GET", origin="https://shop.example")
    assert "content-disposition" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "given", [{"exports": "http://127.0.0.1/x"}, {"/x": "no URL"}, {"/x?y": "http://127.0.0.1/x"}]
)
def test_a_setting_that_makes_no_sense_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Settings(subgraphs={"s": "http://127.0.0.1:1/graphql"}, passthrough=given)
