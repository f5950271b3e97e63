"""What a shop's systems keep with an order: bounded, clean, merged by name, and back as it was given."""

import asyncio
from typing import Any

import orjson
import pytest
from graphql import GraphQLError

from orders.metadata import MAX_BYTES, Metadata, merged, metadata_of
from shared.errors import Code, Refusal
from support.counter import Counter

UPDATE = (
    "mutation($id: ID!, $given: Metadata!) { updateOrderMetadata(id: $id, metadata: $given) { metadata } }"
)
KEPT = {
    "cart": "c-1",
    "gift": True,
    "points": 12,
    "rate": 0.5,
    "note": "für Ann\nwith love",
    "tags": [{"a": None}],
}


def nested(depth: int) -> Any:
    return {"a": nested(depth - 1)} if depth else 1


@pytest.mark.parametrize(
    "given",
    [
        *([], "text", 5, True),
        {"long": "x" * MAX_BYTES},
        *({"a": "\x00"}, {"\x00": 1}, {"a": [{"b": "\u202e"}]}),
        *(
            {"a": 2**53},
            {"a": -(2**53)},
            {"a": 2**64},
            {"a": 1e17},
            {"a": [-1e300]},
            {"a": float("nan")},
            {"a": [float("inf")]},
        ),
        *(nested(17), nested(300)),
    ],
)
def test_what_would_not_come_back_as_it_is_given_is_refused(given: object) -> None:
    with pytest.raises(Refusal) as refusal:
        metadata_of(given)
    assert (refusal.value.code, refusal.value.details) == (Code.BAD_INPUT, {"argument": "metadata"})


def test_names_are_set_dropped_and_left() -> None:
    kept = Metadata({"a": 1, "b": {"x": 1}})
    assert merged(kept, Metadata({"b": {"y": 2}, "c": 3})) == {"a": 1, "b": {"y": 2}, "c": 3}
    assert merged(kept, Metadata({"a": None, "b": None, "z": None})) is None
    assert merged(None, None) is None
    half = "x" * (MAX_BYTES // 2)
    with pytest.raises(Refusal):
        merged(Metadata({"a": half}), Metadata({"b": half}))


def test_as_deep_as_it_may_be_it_is_kept() -> None:
    assert metadata_of(nested(16)) == nested(16)


@pytest.mark.parametrize("cart", ["c-1", None])
async def test_variables_stand_for_parts_of_a_literal(counter: Counter, cart: str | None) -> None:
    order = await counter.place(come_to="placed")
    document = (
        "mutation($id: ID!, $cart: String, $no: Int, $none: String) {"
        " updateOrderMetadata(id: $id, metadata: {cart: $cart, a: [{no: $no}, $none], b: $none}) { metadata } }"
    )
    given: dict[str, Any] = {"cart": cart} if cart else {}
    answer = await counter.ask(document, id=str(order.id), no=7, **given)
    assert answer["metadata"] == {**given, "a": [{"no": 7}, None]}
    with pytest.raises(GraphQLError):
        await counter.ask(document, id=str(order.id), cart="\x00")


async def test_two_systems_keep_what_is_theirs_at_the_same_time(counter: Counter) -> None:
    order = await counter.place(come_to="placed")
    given = [{f"system{n}": n} for n in range(8)]
    await asyncio.gather(*(counter.ask(UPDATE, id=str(order.id), given=each) for each in given))
    answer = await counter.ask(UPDATE, id=str(order.id), given={"system0": None, **KEPT})
    assert answer["metadata"] == {f"system{n}": n for n in range(1, 8)} | KEPT
    before = await counter.read(order)
    await counter.ask(UPDATE, id=str(order.id), given={"cart": "c-1"})
    assert await counter.read(order) == before


async def test_what_python_holds_for_equal_is_kept_as_it_is_given(counter: Counter) -> None:
    order = await counter.place(come_to="placed")
    for gift in (1, True, 1.0, [0], [False]):
        answer = await counter.ask(UPDATE, id=str(order.id), given={"gift": gift})
        assert orjson.dumps(answer["metadata"]) == orjson.dumps({"gift": gift})
