"""What the gateway measures, in one registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)


class Metrics:
    """All metrics. Label values come from settings and closed lists, never from requests."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.passthroughs = _passthroughs(self.registry)
        self.requests = Counter(
            "gateway_requests",
            "GraphQL requests: ok, errors (partial or none of the data), or a refusal's code",
            ["outcome"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "gateway_request_seconds",
            "Time to answer a GraphQL request",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.fetches = Counter(
            "gateway_subgraph_requests",
            "Requests to subgraphs by HTTP class or failure",
            ["subgraph", "outcome"],
            registry=self.registry,
        )
        self.fetch_seconds = Histogram(
            "gateway_subgraph_seconds",
            "Time until a subgraph answered",
            ["subgraph"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.composed = Gauge(
            "gateway_composition_ok", "1 if the subgraphs' current SDL composes", registry=self.registry
        )
        self.swaps = Counter("gateway_graph_swaps", "Graphs that went into service", registry=self.registry)
        self.reachable = Gauge(
            "gateway_subgraph_reachable",
            "1 if the last poll got an SDL",
            ["subgraph"],
            registry=self.registry,
        )

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


def _passthroughs(registry: CollectorRegistry) -> Counter:
    outcomes = "by HTTP class, failure or refusal; cut: it broke off, gone: the client left"
    return Counter(
        "gateway_passthroughs", f"Answers passed through, {outcomes}", ["path", "outcome"], registry=registry
    )
