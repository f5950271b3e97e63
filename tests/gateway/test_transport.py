"""Bytes over real loopback connections: reuse, timeouts, and the three ways of not getting an answer."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.transport import Answer, Failure, HttpTransport, TransportFailed

Handler = Callable[[bytes, bytes, asyncio.StreamWriter], Awaitable[None]]
OK = b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data":{}}'


@asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve POSTs on loopback; yield the URL, and a list with the first request head of each connection."""
    connections: list[bytes] = []
    open_now: set[asyncio.StreamWriter] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        heads = 0
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                heads += 1
                connections.extend([head] if heads == 1 else [])
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await handle(head, await reader.readexactly(length), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/graphql", connections
    finally:
        server.close()
        for writer in open_now:
            writer.close()


@asynccontextmanager
async def transport(url: str, timeout: float = 10) -> AsyncIterator[HttpTransport]:  # noqa: ASYNC109 - the transport's own
    opened = HttpTransport({"s": url}, timeout, {})
    try:
        yield opened
    finally:
        await opened.close()


async def test_a_connection_serves_many_requests_and_carries_only_the_given_headers() -> None:
    bodies: list[bytes] = []

    async def answer(_: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        bodies.append(body)
        writer.write(OK)

    async with serving(answer) as (url, connections), transport(url) as to:
        for number in range(3):
            got = await to.post("s", b"%d" % number, [("authorization", "Bearer x")])
            assert got == (200, b'{"data":{}}')
        assert bodies == [b"0", b"1", b"2"]
        (head,) = connections
        names = {line.split(b":")[0].lower() for line in head.splitlines()[1:] if line}
        assert names == {
            b"content-type",
            b"authorization",
            b"accept",
            b"user-agent",
            b"host",
            b"content-length",
        }


async def test_any_status_is_an_answer() -> None:
    async def answer(_: bytes, __: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 2\r\n\r\nno")

    async with serving(answer) as (url, _), transport(url) as to:
        assert await to.post("s", b"{}", []) == (302, b"no")


async def test_a_closed_port_is_unreachable() -> None:
    async def answer(*_: object) -> None: ...

    async with serving(answer) as (url, _):
        pass
    async with transport(url) as to:
        with pytest.raises(TransportFailed) as failed:
            await to.post("s", b"{}", [])
    assert failed.value.failure is Failure.UNREACHABLE


async def test_a_subgraph_that_is_silent_times_out() -> None:
    async def answer(*_: object) -> None:
        await asyncio.Event().wait()

    async with serving(answer) as (url, _), transport(url, 0.2) as to:
        with pytest.raises(TransportFailed) as failed:
            await to.post("s", b"{}", [])
    assert failed.value.failure is Failure.TIMEOUT


async def test_a_connection_that_ends_early_is_broken() -> None:
    async def answer(_: bytes, __: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK[:-4])
        writer.close()

    async with serving(answer) as (url, _), transport(url) as to:
        with pytest.raises(TransportFailed) as failed:
            await to.post("s", b"{}", [])
    assert failed.value.failure is Failure.BROKEN


async def test_a_cancelled_request_is_cancelled_also_where_its_answer_comes_in_the_same_moment() -> None:
    """The library gives three in a hundred their answer: a loop that polls would go on, and a stop wait for it for ever."""

    async def answer(_: bytes, __: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(random.random() * 0.004)
        writer.write(OK)

    async with serving(answer) as (url, _), transport(url) as client:
        cancelled: list[asyncio.Task[Answer]] = []
        while len(cancelled) < 500:
            asked = [asyncio.create_task(client.post("s", b"{}", [])) for _ in range(20)]
            for task in asked:
                await asyncio.sleep(random.random() * 0.0008)
                if task.cancel():
                    cancelled.append(task)
            await asyncio.wait(asked)
    assert [task for task in cancelled if not task.cancelled()] == []
