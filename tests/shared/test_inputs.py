"""Compiled input objects are equal to Strawberry's, for whatever a client may send; what is unusual stays with Strawberry."""

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import pytest
import strawberry
from hypothesis import given
from hypothesis import strategies as st
from strawberry.relay import GlobalID
from strawberry.types.base import get_object_definition

import orders.checkout.schema
import orders.schema
from shared.inputs import compile_inputs


@strawberry.enum
class Colour(Enum):
    RED = 1
    BLUE = 2


@strawberry.input
class Inner:
    first_name: str
    size: int | None = None


@strawberry.input
class Outer:
    inner: Inner
    others: list[Inner | None]
    perhaps: Inner | None
    colour: Colour
    colours: list[Colour] | None
    words: list[str | None] = strawberry.field(default_factory=lambda: ["none"])
    unset: str | None = strawberry.UNSET
    grid: list[list[Inner]] | None = None
    by_default: Colour = Colour.BLUE


@strawberry.input
class Odd:
    maybe: strawberry.Maybe[str]
    other: int


@strawberry.input
class Pointing:
    node: GlobalID


@strawberry.input
class Tree:
    left: "Tree | None" = None


@strawberry.input
class Holding:
    odd: Odd


UNUSUAL = [Odd, Pointing, Tree, Holding]


def echoing(type_: Any) -> tuple[strawberry.Schema, list[Any]]:
    """A schema that takes one, and what it was given."""
    heard: list[Any] = []

    def echo(wanted: Any) -> bool:
        heard.append(wanted)
        return True

    echo.__annotations__ = {"wanted": type_, "return": bool}
    query = type("Query", (), {"echo": strawberry.field(resolver=echo)})
    return strawberry.Schema(query=strawberry.type(query)), heard


def definition_of(type_: type) -> Any:
    return get_object_definition(type_, strict=True)


@pytest.fixture
def compiled() -> Iterator[Callable[[Any], None]]:
    """Compiles a schema; afterwards its types are Strawberry's again."""
    mine = [Inner, Outer, *UNUSUAL]

    yield compile_inputs
    for type_ in mine:
        definition_of(type_).from_input = None


inners = st.fixed_dictionaries(
    {"firstName": st.text(max_size=3)}, optional={"size": st.none() | st.integers(-9, 9)}
)
colours = st.sampled_from(["RED", "BLUE"])
outers = st.fixed_dictionaries(
    {"inner": inners, "others": st.lists(st.none() | inners, max_size=2), "colour": colours},
    optional={
        "perhaps": st.none() | inners,
        "colours": st.none() | st.lists(colours, max_size=2),
        "words": st.lists(st.none() | st.text(max_size=2), max_size=2),
        "unset": st.none() | st.text(max_size=2),
        "grid": st.none() | st.lists(st.lists(inners, max_size=2), max_size=2),
        "byDefault": colours,
    },
)
ASK = "query($wanted: Outer!) { echo(wanted: $wanted) }"


@given(variables=outers)
def test_an_input_is_what_strawberry_makes_of_it(variables: dict[str, Any]) -> None:
    schema, heard = echoing(Outer)
    assert schema.execute_sync(ASK, {"wanted": variables}).errors is None
    compile_inputs(schema)
    try:
        assert definition_of(Outer).from_input is not None
        assert schema.execute_sync(ASK, {"wanted": variables}).errors is None
    finally:
        definition_of(Outer).from_input = definition_of(Inner).from_input = None
    stock, fast = heard
    assert (type(fast), fast) == (type(stock), stock)


def test_a_default_list_is_not_shared_between_requests(compiled: Callable[[Any], None]) -> None:
    schema, heard = echoing(Outer)
    compiled(schema)
    wanted = {"inner": {"firstName": "a"}, "others": [], "colour": "RED"}
    for _ in range(2):
        assert schema.execute_sync(ASK, {"wanted": wanted}).errors is None
        heard[-1].words.append("more")
    assert heard[1].words == ["none", "more"]


@pytest.mark.parametrize("type_", UNUSUAL)
def test_what_is_unusual_stays_with_strawberry(type_: Any, compiled: Callable[[Any], None]) -> None:
    schema, _ = echoing(type_)
    compiled(schema)
    assert definition_of(type_).from_input is None


def test_placing_an_order_is_not_unusual() -> None:
    compile_inputs(orders.schema.schema)
    assert definition_of(orders.checkout.inputs.CreateOrderInput).from_input is not None
