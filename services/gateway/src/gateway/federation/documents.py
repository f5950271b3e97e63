"""Parses and validates what clients send, once per text, against the API schema."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from graphql import (
    DirectiveNode,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    VariableNode,
    Visitor,
    get_variable_values,
    parse,
    recommended_rules,
    specified_rules,
    validate,
    visit,
)

from gateway.federation.errors import Code, RequestRefused

MAX_ERRORS = 20


@dataclass(frozen=True, eq=False)
class Operation:
    """A validated operation. ``conditions`` are the variables that decide which fields it selects."""

    node: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    conditions: tuple[str, ...]

    @property
    def document(self) -> DocumentNode:
        """The operation with its fragments."""
        return DocumentNode(definitions=(self.node, *self.fragments.values()))


class Documents:
    """A bounded cache of validated documents. ``check`` may refuse a document before the cost of validating it."""

    def __init__(
        self,
        api: GraphQLSchema,
        *,
        introspection: bool,
        max_tokens: int,
        check: Callable[[DocumentNode], None],
        size: int,
    ) -> None:
        self._api = api
        self._introspection = introspection
        self._max_tokens = max_tokens
        self._check = check
        self._rules = [*specified_rules, *recommended_rules]
        if not introspection:
            self._rules.append(NoSchemaIntrospectionCustomRule)
        self._known = lru_cache(size)(self._read)

    def operation(self, text: str, name: str | None) -> Operation:
        """Return the operation to run; ``RequestRefused`` for a document that is invalid or has no such operation."""
        known = self._known(text)
        if isinstance(known, RequestRefused):
            raise known.with_traceback(None)
        if name is None and len(known) != 1:
            raise RequestRefused(
                Code.BAD_REQUEST, "operationName is required: the document has several operations"
            )
        found = known.get(name) if name is not None else next(iter(known.values()))
        if found is None:
            raise RequestRefused(Code.BAD_REQUEST, f"The document has no operation named {name!r}")
        return found

    def variables(self, operation: Operation, given: dict[str, Any]) -> dict[str, Any]:
        """Check the given variables against their declared types, and return them coerced, with defaults."""
        declared = operation.node.variable_definitions
        if not declared:
            return {}
        values = get_variable_values(
            self._api, declared, given, max_errors=MAX_ERRORS, hide_suggestions=not self._introspection
        )
        if isinstance(values, list):
            raise RequestRefused(Code.BAD_INPUT, *values)
        try:
            orjson.dumps(values.coerced)
        except TypeError as deep:
            # A scalar of the graph's own may be any JSON, and orjson reads more levels than it writes.
            raise RequestRefused(Code.BAD_INPUT, "A variable is nested too deeply") from deep
        return values.coerced

    def _read(self, text: str) -> dict[str | None, Operation] | RequestRefused:
        """Refusals are returned, so that they are cached like everything else."""
        try:
            document = parse(text, max_tokens=self._max_tokens, allow_empty_selection_sets=False)
            self._check(document)
        except GraphQLError as problem:
            too_long = "tokens" in problem.message and "more than" in problem.message
            return RequestRefused(Code.QUERY_TOO_COMPLEX if too_long else Code.GRAPHQL_PARSE_FAILED, problem)
        except RequestRefused as refused:
            return refused
        problems = validate(
            self._api, document, self._rules, max_errors=MAX_ERRORS, hide_suggestions=not self._introspection
        )
        if problems:
            return RequestRefused(Code.GRAPHQL_VALIDATION_FAILED, *problems)
        return _operations(document)


def _operations(document: DocumentNode) -> dict[str | None, Operation]:
    fragments = {
        node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
    }
    conditions = _Conditions()
    visit(document, conditions)
    found: dict[str | None, Operation] = {}
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            declared = [each.variable.name.value for each in node.variable_definitions or ()]
            relevant = tuple(name for name in declared if name in conditions.variables)
            found[node.name.value if node.name else None] = Operation(node, fragments, relevant)
    return found


class _Conditions(Visitor):
    """Collects the variables that @skip and @include read."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: set[str] = set()

    def enter_directive(self, node: DirectiveNode, *_: object) -> None:
        if node.name.value in {"skip", "include"}:
            values = [argument.value for argument in node.arguments or ()]
            self.variables.update(value.name.value for value in values if isinstance(value, VariableNode))
