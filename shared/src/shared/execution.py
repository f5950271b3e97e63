"""Execution of GraphQL operations: documents are parsed and validated once, plain selections run as compiled functions.

graphql-core spends about 6 us on every field of every object. Where a selection only reads attributes (no resolver, no
argument, no abstract type), it is compiled once per document into one function per object. The answer is the stock executor's,
data and errors: a compiled function either returns what stock execution would, or raises, whatever the cause; then stock
execution completes that value and says what is wrong with it.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from enum import Enum
from functools import lru_cache
from inspect import isawaitable
from math import isfinite
from operator import attrgetter
from typing import Any, NamedTuple, TypeGuard, cast

import strawberry
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLBoolean,
    GraphQLError,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLString,
    Undefined,
    execute,
    is_leaf_type,
    parse,
    specified_rules,
)
from graphql.execution.collect_fields import FieldDetails
from graphql.type.scalars import GRAPHQL_MAX_INT, GRAPHQL_MIN_INT
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext, validate_document
from strawberry.schema.schema_converter import CustomGraphQLEnumType, GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from shared.inputs import compile_inputs

Complete = Callable[[Any], Any]
"""From a resolved value to what is answered for it. Raises anything at all when stock execution has to look at it."""

Completers = dict[tuple[object, ...], Complete | None]
"""By type and selection (its nodes' ids: they live as long as their document); None where nothing can be compiled."""

Details = list[FieldDetails]
"""What an operation says about one field of the answer: its nodes, merged by name."""

MAX_DOCUMENTS = 512
IS_AWAITABLE = cast("Callable[[Any], TypeGuard[Awaitable[Any]]]", optimized_is_awaitable)
_NONE = type(None)
_CONDITIONS = {"skip", "include"}


class Document(NamedTuple):
    """A valid operation's text, parsed, with what was compiled for it; `completers` is None where variables shape it."""

    node: DocumentNode
    completers: Completers | None


class Invalid(Exception):
    """A document that cannot be executed; `errors` say why."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__(errors)
        self.errors = errors


class Operations:
    """Executes operations on a schema as `schema.execute` does. Extensions would not run, so a schema with any is refused."""

    def __init__(self, schema: strawberry.Schema) -> None:
        if schema.extensions or schema.directives:
            raise TypeError("extensions and operation directives are not executed here")
        compile_inputs(schema)
        self._schema = schema._schema  # noqa: SLF001 - Strawberry names no other way to its graphql-core schema
        self._document = lru_cache(MAX_DOCUMENTS)(self._parse)

    async def execute(
        self, query: str, variables: dict[str, Any] | None, operation_name: str | None, context: object
    ) -> ExecutionResult:
        """Never raises: whatever goes wrong is an error in the result."""
        try:
            document = self._document(query)
            result = execute(
                self._schema,
                document.node,
                context_value=context,
                variable_values=variables,
                operation_name=operation_name,
                is_awaitable=IS_AWAITABLE,
                executor_class=CompiledExecutor,
                completers=document.completers,
            )
            return await result if isawaitable(result) else result
        except Invalid as invalid:
            return ExecutionResult(None, invalid.errors)
        except Exception as fault:  # noqa: BLE001 - the endpoint masks and logs it with the others
            return ExecutionResult(None, [GraphQLError(str(fault), original_error=fault)])

    def _parse(self, query: str) -> Document:
        """Raises Invalid: what is invalid is not remembered."""
        try:
            node = parse(query)
        except GraphQLError as error:
            raise Invalid([error]) from error
        if errors := validate_document(self._schema, node, tuple(specified_rules)):
            raise Invalid(errors)
        # Without "@" there is no @skip or @include, so a selection is the same whatever the variables are.
        return Document(node, None if "@" in query else {})


class CompiledExecutor(StrawberryGraphQLCoreExecutionContext):
    """Stock execution, but for values whose whole selection reads plain attributes.

    `completers` is shared by all executions of a document; without it each execution compiles for itself.
    """

    def __init__(self, *args: Any, completers: Completers | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._completers: Completers = {} if completers is None else completers
        self._met: dict[tuple[object, object, int], tuple[Details, Complete | None]] = {}
        watched = self.middleware_manager is not None and self.middleware_manager.middlewares
        self._compiles = not watched and self.abort_signal is None

    def complete_list_value(
        self,
        return_type: GraphQLList[Any],
        details: Details,
        info: Any,
        path: Any,
        result: Any,
        deferred: Any,
    ) -> Any:
        if complete := self._completer(compile_list, return_type, details, deferred):
            with suppress(Exception):
                return complete(result)
        return super().complete_list_value(return_type, details, info, path, result, deferred)

    def complete_object_value(
        self,
        return_type: GraphQLObjectType,
        details: Details,
        info: Any,
        path: Any,
        result: Any,
        deferred: Any,
    ) -> Any:
        if complete := self._completer(compile_object, return_type, details, deferred):
            with suppress(Exception):
                return complete(result)
        return super().complete_object_value(return_type, details, info, path, result, deferred)

    def execute_field(
        self, parent_type: GraphQLObjectType, source: Any, details: Details, path: Any, deferred: Any
    ) -> Any:
        """The plain fields of an object that has others too."""
        if complete := self._completer(compile_field, parent_type, details, deferred):
            with suppress(Exception):
                return complete(source)
        return super().execute_field(parent_type, source, details, path, deferred)

    def _completer(self, compile_: "Compile", type_: Any, details: Details, deferred: Any) -> Complete | None:
        """Found by the identity of `details` within an execution, and by its nodes among all executions of the document."""
        if not self._compiles or deferred is not None:
            return None
        near = (compile_, type_, id(details))
        if near in self._met:
            return self._met[near][1]
        far = (compile_, type_, *(id(each.node) for each in details))
        if far not in self._completers:
            self._completers[far] = self._compile(compile_, type_, details)
        complete = self._completers[far]
        self._met[near] = (details, complete)
        return complete

    def _compile(self, compile_: "Compile", type_: Any, details: Details) -> Complete | None:
        """None for what is unusual, and for what goes wrong: stock execution has the words for it."""
        with suppress(Exception):
            return compile_(self, type_, details)
        return None


Compile = Callable[[CompiledExecutor, Any, Details], Complete]


class Unusual(Exception):
    """A value or a selection that is left to stock execution."""


def compile_field(executor: CompiledExecutor, parent: GraphQLObjectType, details: Details) -> Complete:
    """From the object to the field's answer."""
    attribute, complete = _field(executor, parent, details)
    read = attrgetter(attribute)
    return lambda source: complete(read(source))


def compile_object(executor: CompiledExecutor, type_: GraphQLObjectType, details: Details) -> Complete:
    """From the object to the answer for all that is selected of it."""
    if type_.is_type_of is not None or _varies(details):
        raise Unusual
    selected, deferred, _ = executor.collect_subfields(type_, details)
    if deferred:
        raise Unusual
    fields = {name: _field(executor, type_, each) for name, each in selected.items()}
    plan = [(name, complete_value) for name, (_, complete_value) in fields.items()]
    read = _reader([attribute for attribute, _ in fields.values()])

    def complete(source: Any) -> dict[str, Any]:
        _require_ready(source)
        return {name: complete_value(value) for (name, complete_value), value in zip(plan, read(source))}  # noqa: B905 - equally long, and strict costs time

    return complete


def compile_list(executor: CompiledExecutor, type_: GraphQLList[Any], details: Details) -> Complete:
    """From a list or tuple to the list of its items' answers."""
    complete_item = _value(executor, type_.of_type, details)

    def complete(values: Any) -> list[Any]:
        if type(values) is not list and type(values) is not tuple:
            raise Unusual
        return [complete_item(value) for value in values]

    return complete


def _field(executor: CompiledExecutor, parent: GraphQLObjectType, details: Details) -> tuple[str, Complete]:
    """The attribute that a field reads, and how its value is completed. Raises Unusual for a field that does more."""
    node = details[0].node
    if node.name.value == "__typename":
        return "__class__", lambda _: parent.name
    field: GraphQLField = parent.fields[node.name.value]
    definition = field.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
    directives = {directive.name.value for each in details for directive in each.node.directives or ()}
    is_plain = (
        isinstance(definition, StrawberryField)
        and getattr(field.resolve, "_is_default", False)  # Strawberry's mark: no resolver, no extension
        and definition.default_resolver is getattr
        and not field.args
    )
    if not is_plain or node.arguments or directives - _CONDITIONS or _varies(details):
        raise Unusual
    return definition.python_name, _value(executor, field.type, details)


def _varies(details: Details) -> bool:
    """Whether something else than the nodes has a say in what is answered: a fragment's own variables, or @defer."""
    return any(each.fragment_variable_values or each.defer_usage for each in details)


def _value(executor: CompiledExecutor, type_: Any, details: Details) -> Complete:
    nullable = not isinstance(type_, GraphQLNonNull)
    named = type_ if nullable else type_.of_type
    if is_leaf_type(named):
        return _leaf(named, nullable=nullable)
    if isinstance(named, GraphQLList):
        complete = compile_list(executor, named, details)
    elif isinstance(named, GraphQLObjectType):
        complete = compile_object(executor, named, details)
    else:
        raise Unusual
    return _nullable(complete) if nullable else complete


def _reader(attributes: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Reads them all; attrgetter would answer a single one bare."""
    if len(attributes) > 1:
        return attrgetter(*attributes)
    [only] = attributes
    return lambda source: (getattr(source, only),)


def _nullable(complete: Complete) -> Complete:
    return lambda value: None if value is None else complete(value)


def _leaf(type_: Any, *, nullable: bool) -> Complete:
    """The usual value of each type is looked at once and passed; any other goes through the type's own coercion."""
    coerce = _coercion(type_, nullable=nullable)
    if type_ in _PASSED:
        passed = frozenset({_PASSED[type_], _NONE} if nullable else {_PASSED[type_]})
        return lambda value: value if type(value) in passed else coerce(value)
    if type_ is GraphQLInt:
        low, high = GRAPHQL_MIN_INT, GRAPHQL_MAX_INT
        return lambda value: value if type(value) is int and low <= value <= high else coerce(value)
    if type_ is GraphQLFloat:
        return lambda value: value if type(value) is float and isfinite(value) else coerce(value)
    if isinstance(type_, CustomGraphQLEnumType):
        # By identity: hashing a member may be a call into Python, and its class keeps it alive.
        members: Iterable[Enum] = type_.wrapped_cls
        names = {id(member): coerce(member) for member in members}
        return lambda value: names.get(id(value)) or coerce(value)
    return coerce


_PASSED = {GraphQLString: str, GraphQLID: str, GraphQLBoolean: bool}


def _coercion(type_: Any, *, nullable: bool) -> Complete:
    def coerce(value: Any) -> Any:
        if value is None and nullable:
            return None
        _require_ready(value)
        coerced = type_.coerce_output_value(value)
        _require_ready(coerced)
        return coerced

    return coerce


def _require_ready(value: Any) -> None:
    """Raises Unusual for what stock execution would await, raise or answer as null instead of completing it."""
    if value is None or value is Undefined or isinstance(value, Exception) or optimized_is_awaitable(value):
        raise Unusual
