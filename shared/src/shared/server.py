"""An ASGI app as a process: uvicorn with uvloop and httptools, stopped gracefully by SIGTERM or SIGINT."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from shared.settings import HttpSettings


class Server(uvicorn.Server):
    """uvicorn, but a signal that was obeyed is not raised again (a graceful stop exits with 0), and it ends when `failed` says so."""

    def __init__(self, config: uvicorn.Config, failed: Callable[[], bool]) -> None:
        super().__init__(config)
        self._failed = failed

    async def on_tick(self, counter: int) -> bool:
        """Asked ten times a second whether to stop."""
        return self._failed() or await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield


def serve(
    app: Any, settings: HttpSettings, *, graceful: int, failed: Callable[[], bool] = lambda: False
) -> None:
    """Run an ASGI app until SIGTERM or SIGINT; requests in flight then have `graceful` seconds.

    Exits 1 if it did not start, or when `failed` says that it never will.
    """
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        proxy_headers=False,  # or whoever calls from this machine could say that he is somebody else
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=graceful,
    )
    server = Server(config, failed)
    server.run()
    sys.exit(0 if server.started and not failed() else 1)
