"""How bytes reach a subgraph: one POST over kept-alive HTTP connections."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import ConnectError, PyreqwestError, RequestTimeoutError

from shared.cancellation import heed_cancellation

Headers: TypeAlias = Sequence[tuple[str, str]]

IDLE_SECONDS = 4
"""Shorter than uvicorn's 5 s, so that a connection is not used in the moment its server closes it."""


class Answer(NamedTuple):
    """An HTTP answer, whatever its status."""

    status: int
    body: bytes


class Failure(Enum):
    """Why there was no answer."""

    UNREACHABLE = "unreachable"  # nothing was sent
    TIMEOUT = "timeout"
    BROKEN = "broken"  # the connection ended before the answer did


class TransportFailed(Exception):
    """There was no answer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure


class Transport(Protocol):
    """One way to reach subgraphs by name; tests reach them in process."""

    async def post(self, subgraph: str, body: bytes, headers: Headers) -> Answer:
        """Post a JSON body. Raises ``TransportFailed`` when there is no answer."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


class HttpTransport:
    """Posts over HTTP/1.1. Timeouts are in seconds, from connecting to the last byte."""

    def __init__(self, urls: Mapping[str, str], timeout: float, timeouts: Mapping[str, float]) -> None:
        self._urls = dict(urls)
        self._timeouts = {name: timedelta(seconds=timeouts.get(name, timeout)) for name in urls}
        builder = ClientBuilder().no_proxy().follow_redirects(False).referer(False)
        builder = builder.gzip(False).brotli(False).zstd(False).deflate(False)
        self._client = builder.pool_idle_timeout(timedelta(seconds=IDLE_SECONDS)).build()

    async def post(self, subgraph: str, body: bytes, headers: Headers) -> Answer:
        """Post a JSON body. Raises ``TransportFailed`` when there is no answer."""
        request = self._client.post(self._urls[subgraph]).headers(
            [("content-type", "application/json"), *headers]
        )
        try:
            response = await request.timeout(self._timeouts[subgraph]).body_bytes(body).build().send()
            answer = Answer(response.status, (await response.bytes()).to_bytes())
        except RequestTimeoutError as late:
            raise TransportFailed(Failure.TIMEOUT) from late
        except ConnectError as refused:
            raise TransportFailed(Failure.UNREACHABLE) from refused
        except PyreqwestError as broken:
            raise TransportFailed(Failure.BROKEN) from broken
        heed_cancellation()
        return answer

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.close()
