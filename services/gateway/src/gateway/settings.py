"""What the gateway can be told from its environment; the only module that reads it."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, HttpUrl

from shared.settings import HttpSettings

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Settings(HttpSettings):
    """Times are in seconds, sizes in bytes. Names are the environment's in lower case."""

    port: int = Field(default=8000, ge=0, le=65535)

    subgraphs: dict[str, HttpUrl] = Field(min_length=1)
    """The subgraphs by name, each with the URL of its GraphQL endpoint."""
    state_dir: Path | None = None
    """Where the last good SDL is kept, so that the graph starts while a subgraph is down. None: nowhere."""
    poll_interval: Seconds = 5.0
    """How often each subgraph is asked for its SDL; a change is adopted after two equal answers."""

    subgraph_timeout: Seconds = 15.0
    """Longer than the services' bounded wait for an outcome (5 s), or their late answers would be lost."""
    subgraph_timeouts: dict[str, Seconds] = Field(default={})
    """Other timeouts, for single subgraphs."""
    breaker_threshold: Count = 5
    """So many failures in a row make a subgraph be refused without asking it."""
    breaker_open: Seconds = 5.0
    """How long, before one request may try it again."""

    introspection: bool = True
    max_body: Count = 100_000
    max_tokens: Count = 2_000
    max_depth: Count = 12
    max_aliases: Count = 30
    max_root_fields: Count = 10
    plan_cache_size: Count = 1_000

    anonymous_mutations_per_minute: Annotated[int, Field(ge=0)] = 20
    """What one client address may change without an account, and as much at once; 0: no limit. Each replica counts for itself."""
    costly_queries: tuple[str, ...] = ("priceOrder", "shippingQuotes")
    """Root fields of queries that are worth guessing with (a discount's code) or cost a provider's call (a carrier's rates)."""
    anonymous_costly_queries_per_minute: Annotated[int, Field(ge=0)] = 60
    """Likewise, how many of those fields: enough for a page that prices a basket at each change of it."""
    trusted_proxies: Annotated[int, Field(ge=0)] = 0
    """How many proxies stand in front, all of them ours, each adding its peer to X-Forwarded-For. With 0 that header counts for nothing."""

    passthrough: dict[Annotated[str, Field(pattern=r"^/[\w./-]+$")], HttpUrl] = Field(default={})
    """Paths whose GET is answered by a URL as it is, byte by byte; ``subgraph_timeout`` is for an answer to begin."""

    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call the gateway from a browser; ``*`` allows all."""
