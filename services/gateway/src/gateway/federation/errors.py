"""What can go wrong, as types: codes that clients see, refusals of a composition, refusals of a request.

``Code`` is the closed list. A subgraph's own ``extensions.code`` passes through beside it unchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from graphql import GraphQLError


class Code(StrEnum):
    """Every ``extensions.code`` that the gateway itself can put into an answer."""

    BAD_REQUEST = "BAD_REQUEST"  # not a GraphQL request: path, method, media type, JSON, shape of the body
    BAD_INPUT = "BAD_INPUT"  # a variable that does not fit its declared type
    GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    QUERY_TOO_COMPLEX = (
        "QUERY_TOO_COMPLEX"  # over a limit of depth, tokens, aliases, root fields or plan size
    )
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    RATE_LIMITED = "RATE_LIMITED"  # too many requests of one client: again after `retryAfter` seconds
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"  # a subgraph, or the graph as a whole, cannot be asked now
    SERVICE_TIMEOUT = "SERVICE_TIMEOUT"  # a subgraph took longer than its timeout
    SERVICE_INVALID_ANSWER = "SERVICE_INVALID_ANSWER"  # a subgraph answered something that is not GraphQL
    DATA_MISSING = "DATA_MISSING"  # a non-null field that no subgraph gave a value or an error for
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class CompositionError:
    """One reason why subgraphs do not form a graph. ``where`` is a schema coordinate such as ``Order.total``."""

    code: str
    where: str
    message: str
    subgraphs: tuple[str, ...] = ()

    def __str__(self) -> str:
        by = f" [{', '.join(self.subgraphs)}]" if self.subgraphs else ""
        return f"{self.code} at {self.where}{by}: {self.message}"


class CompositionFailed(Exception):
    """The subgraphs contradict each other; ``errors`` holds every contradiction that was found."""

    def __init__(self, errors: Sequence[CompositionError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = tuple(errors)


class RequestRefused(Exception):
    """The request was not executed at all; ``errors`` are GraphQL errors ready for the answer, as are its HTTP ``headers``."""

    def __init__(
        self,
        code: Code,
        *problems: str | GraphQLError,
        status: int = 400,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(*(getattr(problem, "message", problem) for problem in problems))
        self.code = code
        self.status = status
        self.headers = tuple(headers)
        self.errors = [_refusal(problem, code) for problem in problems]


class SubgraphFailed(Exception):
    """A subgraph gave no usable answer to one fetch. The message is meant for clients."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def error(message: str, code: Code, path: Sequence[str | int] | None = None) -> dict[str, Any]:
    """Return a GraphQL error as it goes on the wire."""
    located = {"path": list(path)} if path is not None else {}
    return {"message": message, **located, "extensions": {"code": code.value}}


def _refusal(problem: str | GraphQLError, code: Code) -> dict[str, Any]:
    if isinstance(problem, str):
        return error(problem, code)
    return {**problem.formatted, "extensions": {"code": code.value}}
