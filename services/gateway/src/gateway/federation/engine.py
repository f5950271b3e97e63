"""Answers GraphQL requests over one composed graph: the whole of federation behind one call.

An engine never changes. A new graph gets a new engine; requests in flight finish on the old one.
"""

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from graphql import DocumentNode, SelectionSetNode, execute_sync

from gateway.federation.documents import Documents, Operation
from gateway.federation.errors import Code, RequestRefused
from gateway.federation.execute import Execution, Send
from gateway.federation.ir import Plan
from gateway.federation.model import Graph
from gateway.federation.plan import plan_operation
from gateway.federation.selection import Selection


def _allow(_: object) -> None:
    """Refuse nothing."""


@dataclasses.dataclass(frozen=True, slots=True)
class EngineOptions:
    """Bounds of an engine. ``check`` sees every new document before it is validated and may refuse it.

    ``costly`` names root fields of queries: each plan says once and for all how many of them it asks.
    """

    introspection: bool = True
    max_tokens: int = 2_000
    max_slots: int = 5_000  # response fields, counted once per concrete type: bounds the time to plan
    cache_size: int = 1_000  # documents, and plans
    check: Callable[[DocumentNode], None] = _allow
    costly: frozenset[str] = frozenset()


class Engine:
    """Plans and executes operations on one graph, with every plan made once."""

    def __init__(self, graph: Graph, send: Send, options: EngineOptions | None = None) -> None:
        self.graph = graph
        self._send = send
        self._options = options or EngineOptions()
        self._documents = Documents(
            graph.api,
            introspection=self._options.introspection,
            max_tokens=self._options.max_tokens,
            check=self._options.check,
            size=self._options.cache_size,
        )
        self._plan = lru_cache(self._options.cache_size)(self._make_plan)

    async def execute(
        self,
        query: str,
        variables: dict[str, Any] | None = None,
        operation_name: str | None = None,
        context: Any = None,
        admit: Callable[[Plan], None] = _allow,
    ) -> bytes:
        """Answer one operation as JSON bytes.

        ``context`` is handed to ``send`` as it is; ``admit`` sees the plan before anything is asked and may refuse it. Raises
        ``RequestRefused`` for what cannot be executed at all.
        """
        given = variables or {}
        operation = self._documents.operation(query, operation_name)
        coerced = self._documents.variables(operation, given)
        plan = self._plan(operation, _conditions(operation, coerced))
        admit(plan)
        execution = Execution(plan, given, self._send, context)
        if plan.introspection:
            execution.data |= self._introspect(operation, plan, given)
        return await execution.run()

    def plan(
        self, query: str, variables: dict[str, Any] | None = None, operation_name: str | None = None
    ) -> Plan:
        """Return the plan of an operation without running it."""
        operation = self._documents.operation(query, operation_name)
        return self._plan(
            operation, _conditions(operation, self._documents.variables(operation, variables or {}))
        )

    def _make_plan(self, operation: Operation, values: tuple[bool, ...]) -> Plan:
        conditions = dict(zip(operation.conditions, values, strict=True))
        selection = Selection(self.graph.api, operation.fragments, conditions, self._options.max_slots)
        plan = plan_operation(self.graph, operation.node, selection)
        costly = sum(name in self._options.costly for name in plan.root_fields) if plan.is_query else 0
        return dataclasses.replace(plan, costly=costly)

    def _introspect(self, operation: Operation, plan: Plan, variables: dict[str, Any]) -> dict[str, Any]:
        """Let graphql-core answer ``__schema`` and ``__type`` from the API schema."""
        node = dataclasses.replace(
            operation.node, selection_set=SelectionSetNode(selections=plan.introspection)
        )
        document = DocumentNode(definitions=(node, *operation.fragments.values()))
        return execute_sync(self.graph.api, document, variable_values=variables).data or {}


def _conditions(operation: Operation, variables: dict[str, Any]) -> tuple[bool, ...]:
    values = [variables.get(name) for name in operation.conditions]
    if None in values:
        raise RequestRefused(Code.BAD_INPUT, "A variable of @skip or @include must not be null")
    return tuple(map(bool, values))
