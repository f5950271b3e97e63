"""Answers that are no GraphQL and too long to hold: a path of ours is a URL of a service, and its bytes pass as they come.

GET alone, for exactly the configured paths. At most a chunk of each answer is in memory: the service is read as fast as the
client reads, and let go of when the client goes away.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import ConnectError, PyreqwestError
from pyreqwest.response import Response

from gateway.asgi import RawHeaders, Receive, Scope, Send, refuse
from gateway.federation import Code, RequestRefused
from gateway.transport import IDLE_SECONDS, Failure, Headers, TransportFailed
from shared.cancellation import heed_cancellation

log = logging.getLogger(__name__)

SILENCE_SECONDS = 300
"""What says nothing for so long is gone; it also ends what pyreqwest cannot cancel, a request whose answer has not begun."""
SENT_ON = ("authorization", "x-request-id", "traceparent")
PASSED_BACK = ("content-type", "content-disposition")
_FAILED = {
    Failure.UNREACHABLE: (503, Code.SERVICE_UNAVAILABLE, "is unavailable"),
    Failure.BROKEN: (502, Code.SERVICE_UNAVAILABLE, "gave no usable answer"),
    Failure.TIMEOUT: (504, Code.SERVICE_TIMEOUT, "took too long to answer"),
}


class Passthrough:
    """Serves ``targets`` (URLs by path). ``timeout`` (seconds) is for an answer to begin; then it takes what it takes."""

    def __init__(self, targets: Mapping[str, str], timeout: float) -> None:
        self._targets = dict(targets)
        self._timeout = timeout
        builder = ClientBuilder().no_proxy().follow_redirects(False).referer(False)
        builder = builder.gzip(False).brotli(False).zstd(False).deflate(False)
        builder = builder.read_timeout(timedelta(seconds=SILENCE_SECONDS))
        self._client = builder.pool_idle_timeout(timedelta(seconds=IDLE_SECONDS)).build()

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.close()

    async def serve(
        self, scope: Scope, receive: Receive, send: Send, passed: Headers, own: RawHeaders
    ) -> str:
        """Answer one request, ``passed`` being what may be sent on and ``own`` our headers; return how it went, for metrics."""
        streaming = asyncio.create_task(self._stream(scope, send, passed, own))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({streaming, gone}, return_when=asyncio.FIRST_COMPLETED)
            return streaming.result() if streaming.done() else "gone"
        finally:
            for task in (streaming, gone):
                task.cancel()
            await asyncio.wait({streaming, gone})

    async def _stream(self, scope: Scope, send: Send, passed: Headers, own: RawHeaders) -> str:
        path, began = scope["path"], False
        try:
            async with self._asked(path, scope["query_string"], passed) as response:
                headers = [(b"cache-control", b"no-store"), *_passed_back(response), *own]
                await send({"type": "http.response.start", "status": response.status, "headers": headers})
                began = True
                while (chunk := await response.body_reader.read_chunk()) is not None:
                    heed_cancellation()
                    await send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})
                await send({"type": "http.response.body", "body": b""})
                return f"{response.status // 100}xx"
        except TransportFailed as failed:
            if began:  # an answer without its end is what tells the client: the server closes the connection
                log.warning("%s ended before it was complete", path)
                return "cut"
            status, code, what = _FAILED[failed.failure]
            await refuse(send, RequestRefused(code, f"{path} {what}", status=status), own)
            return failed.failure.value

    @asynccontextmanager
    async def _asked(self, path: str, query: bytes, passed: Headers) -> AsyncIterator[Response]:
        """The answer once it has begun. Raises ``TransportFailed``, also when it ends before its end."""
        url = self._targets[path] + (f"?{query.decode('latin-1')}" if query else "")
        headers = [(name, value) for name, value in passed if name in SENT_ON]
        # Without the limit of 0 an answer that is small or slow would be read to its end before it begins here.
        request = self._client.get(url).headers(headers).streamed_read_buffer_limit(0).build_streamed()
        try:
            async with AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout(self._timeout):
                        response = await stack.enter_async_context(request)
                        heed_cancellation()
                except TimeoutError as late:
                    raise TransportFailed(Failure.TIMEOUT) from late
                yield response
        except ConnectError as refused:
            raise TransportFailed(Failure.UNREACHABLE) from refused
        except PyreqwestError as broken:
            raise TransportFailed(Failure.BROKEN) from broken


def _passed_back(response: Response) -> RawHeaders:
    given = [(name, response.get_header(name)) for name in PASSED_BACK]
    return [(name.encode(), value.encode("latin-1")) for name, value in given if value is not None]


async def _gone(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
