"""An Apollo Federation v2 gateway as a library: compose subgraphs, plan operations, execute plans.

It knows keys and who answers which field, and nothing about what is served. ``compose`` makes a ``Graph`` from SDL;
an ``Engine`` answers operations over it, and reaches subgraphs only by the ``Send`` it is given.
"""

from gateway.federation.compose import compose, schema_sdl
from gateway.federation.engine import Engine, EngineOptions
from gateway.federation.errors import (
    Code,
    CompositionError,
    CompositionFailed,
    RequestRefused,
    SubgraphFailed,
    error,
)
from gateway.federation.execute import Send
from gateway.federation.ir import Plan
from gateway.federation.model import Graph

__all__ = [
    "Code",
    "CompositionError",
    "CompositionFailed",
    "Engine",
    "EngineOptions",
    "Graph",
    "Plan",
    "RequestRefused",
    "Send",
    "SubgraphFailed",
    "compose",
    "error",
    "schema_sdl",
]
