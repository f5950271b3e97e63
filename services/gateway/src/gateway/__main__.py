"""``python -m gateway``: serves on HOST:PORT until SIGTERM or SIGINT, then ends gracefully with exit code 0."""

import gc
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from gateway.app import Gateway
from gateway.settings import Settings

DRAIN_SECONDS = 5
"""What a request in flight may take beyond its subgraphs' timeout."""


class Server(uvicorn.Server):
    """uvicorn, but a signal that was obeyed is not raised again: a graceful stop is a success."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield


def settle_memory() -> None:
    """Exempt the graph and the code, which live on, from garbage collection, and collect the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def main() -> None:
    """Serve with the environment's settings."""
    settings = Settings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    slowest = max([settings.subgraph_timeout, *settings.subgraph_timeouts.values()])
    config = uvicorn.Config(
        Gateway(settings, on_graph=settle_memory),
        host=settings.host,
        port=settings.port,
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=int(slowest) + DRAIN_SECONDS,
    )
    server = Server(config)
    server.run()
    sys.exit(0 if server.started else 1)


if __name__ == "__main__":
    main()
