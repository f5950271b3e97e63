"""``python -m gateway``: serves on HOST:PORT until SIGTERM or SIGINT, then ends gracefully with exit code 0."""

import argparse
import gc

from shared import stopping

DRAIN_SECONDS = 5
"""What a request in flight may take beyond its subgraphs' timeout."""


def settle_memory() -> None:
    """Exempt the graph and the code, which live on, from garbage collection, and collect the rest less often.

    Called anew for each graph: what was exempt before is thawed first, so that the graph before the last one goes.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def main() -> None:
    """Serve with the environment's settings; there is nothing else that it does."""
    argparse.ArgumentParser(prog="python -m gateway", description=__doc__).parse_args()
    stopping.end_when_told()
    from gateway.app import build
    from gateway.settings import Settings
    from shared import telemetry
    from shared.server import serve
    from shared.settings import from_environment

    settings = from_environment(Settings)
    telemetry.configure("gateway", settings.log_level, settings.log_format)
    slowest = max([settings.subgraph_timeout, *settings.subgraph_timeouts.values()])
    serve(build(settings, on_graph=settle_memory), settings, graceful=int(slowest) + DRAIN_SECONDS)


if __name__ == "__main__":
    main()
