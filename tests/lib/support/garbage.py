"""What anybody who may write to a topic can put there: seeded garbage around a good fact, and a way to send it as it is."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from shared.inbox import Record

BATCH_BYTES = 400_000
GZIP = 1


@dataclass(frozen=True)
class Garbage:
    """`record` is none that can be read; `good` is what it was made of."""

    what: str
    record: Record
    good: Record


Spoil = Callable[[Record, random.Random], Record]


def _with(**headers: bytes | None) -> Spoil:
    return lambda good, _: _headers(good, headers)


def _headers(good: Record, changed: dict[str, bytes | None]) -> Record:
    kept = tuple((name, value) for name, value in good.headers if name not in changed)
    return replace(good, headers=(*kept, *changed.items()))


def _body(make: Callable[[bytes, random.Random], bytes | None]) -> Spoil:
    return lambda good, chance: replace(good, value=make(good.value or b"", chance))


def _field(raw: str) -> Spoil:
    """Some field's value replaced by this text, be it JSON or not."""

    def spoil(good: Record, chance: random.Random) -> Record:
        body = orjson.loads(good.value or b"")
        name = chance.choice(
            [field for field in ("order_id", "currency", "lines", "weight_grams") if field in body]
        )
        return replace(good, value=orjson.dumps({**body, name: "@@"}).replace(b'"@@"', raw.encode()))

    return spoil


def _name(good: Record, chance: random.Random) -> Record:
    name = chance.randbytes(6).replace(b"\x00", b"\xfe") + b"\xff"  # librdkafka ends a name at a null byte
    return replace(good, headers=(*good.headers, (name.decode(errors="surrogateescape"), b"x")))


KINDS: dict[str, Spoil] = {
    "random bytes": _body(lambda _, chance: chance.randbytes(chance.randrange(2000))),
    "a truncated body": _body(lambda body, chance: body[: chance.randrange(len(body) - 1)]),
    "a null body": _body(lambda _, __: None),
    "deep arrays": _body(lambda _, __: b"[" * 10_000 + b"]" * 10_000),
    "deep objects": _body(lambda _, __: b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "a null character": _body(lambda body, _: body.replace(b":", b':"\\u0000",\n"x":', 1)),
    "a lone surrogate": _field(r'"\ud800"'),
    "NaN": _field("NaN"),
    "infinity": _field("-Infinity"),
    "a huge number": _field("1e999"),
    "ten thousand digits": _field("9" * 10_000),
    "an invalid uuid": _field('"01a2014c-8852-7353-b1a9-zzzzzzzzzzzz"'),
    "another type": _field('[{"a": [null]}]'),
    "a null key": lambda good, _: replace(good, key=None),
    "a key that is not UTF-8": lambda good, chance: replace(good, key=b"\xff" + chance.randbytes(9)),
    "no headers": lambda good, _: replace(good, headers=()),
    "a hundred headers": lambda good, _: replace(good, headers=(("ce_id", b"\x00"),) * 100),
    "a null header": _with(ce_id=None),
    "a header that is not UTF-8": lambda good, chance: _headers(good, {"x": b"\xff" + chance.randbytes(5)}),
    "a header's name that is not UTF-8": _name,
    "an id that is none": _with(ce_id=b"7"),
    "a time that is none": _with(ce_time=b"tomorrow"),
    "an unknown type": _with(ce_type=b"order.dreamt", ce_dataschema=b"ordermesh:order.dreamt/v1"),
    "an unknown version": _with(ce_dataschema=b"ordermesh:x/v99"),
    "a version of many digits": _with(ce_dataschema=b"ordermesh:x/v" + b"9" * 5000),
    "a version that is none": _with(ce_dataschema=b"ordermesh:x/v\xc2\xb2"),
}


def garbage(goods: Iterator[Record], count: int, seed: int, elsewhere: bytes) -> list[Garbage]:
    """`count` records: a few of 1 MB, the rest of all kinds alike. `elsewhere` is a type of another topic."""
    chance = random.Random(seed)
    kinds = {
        **KINDS,
        "another topic's type": _with(ce_type=elsewhere, ce_dataschema=b"ordermesh:" + elsewhere + b"/v1"),
    }
    big = _body(lambda _, chance: chance.randbytes(1_000_000))
    named = [("1 MB", big)] * 3 + [(what, spoil) for _ in range(count) for what, spoil in kinds.items()][
        : count - 3
    ]
    chance.shuffle(named)
    found = []
    for what, spoil in named:
        good = next(goods)
        found.append(Garbage(what, spoil(good, chance), good))
    return found


async def send(producer: AIOKafkaProducer, records: Sequence[Record]) -> list[Record]:
    """Send them in order to their partitions and answer them with the offsets they got. Some batches are compressed."""
    sent: list[Record] = []
    waiting: list[tuple[list[Record], Any]] = []
    for n, batch in enumerate(_batches(records)):
        builder = producer.create_batch()
        builder._builder = _DefaultRecordBatchBuilderPy(2, GZIP * (n % 2), 0, -1, -1, -1, 10 * BATCH_BYTES)
        for record in batch:
            headers = [(_Raw(name), value) for name, value in record.headers]
            assert builder.append(key=record.key, value=record.value, timestamp=None, headers=headers)
        waiting.append(
            (batch, await producer.send_batch(builder, batch[0].topic, partition=batch[0].partition))
        )
    for batch, acknowledged in waiting:
        base = (await acknowledged).offset
        sent += [replace(record, offset=base + n) for n, record in enumerate(batch)]
    return sent


class _Raw(str):
    """A header's name with lone surrogates, on its way to the bytes that they stand for."""

    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        return super().encode("utf-8", "surrogateescape")


def _batches(records: Sequence[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        weight = (
            len(record.value or b"")
            + sum(len(name) + len(value or b"") + 9 for name, value in record.headers)
            + 100
        )
        if batch and (size + weight > BATCH_BYTES or record.partition != batch[0].partition):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += weight
    if batch:
        yield batch
