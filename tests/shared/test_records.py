"""Batches that the library reads are left to it; those that it cannot read are read here, and nothing of them is lost."""

import importlib
import random
import struct
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords

from shared.records import Records, recover

GZIP = 1
CODECS = range(5)
_RECORDS_AT = 61
Header = tuple[str, bytes | None]


class Raw(str):
    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        return super().encode("utf-8", "surrogateescape")


def batch(*headers: list[Header], codec: int = 0, base: int = 0) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, -1, 10**6)
    for n, named in enumerate(headers):
        raw = [(Raw(name), value) for name, value in named]
        assert builder.append(
            n, timestamp=1000 + n, key=b"k%d" % n, value=None if n == 1 else b"v", headers=raw
        )
    made = builder.build()
    return struct.pack(">q", base) + bytes(made[8:])


def read(data: bytes) -> list[tuple[Any, ...]]:
    records, found = Records(data), []
    while records.has_next():
        each = records.next_batch()
        assert each is not None
        assert each.validate_crc()
        found += [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in each]
    return found


def plain(headers: list[Header], n: int, base: int = 0) -> tuple[Any, ...]:
    return (base + n, 1000 + n, b"k%d" % n, None if n == 1 else b"v", tuple(headers))


ODD: list[Header] = [("ok", b"1"), ("\udcff\udcfe", b"\xff"), ("", None)]


def test_the_fetcher_reads_by_it() -> None:
    importlib.import_module("shared.bus")
    assert fetcher.MemoryRecords is Records


@pytest.mark.parametrize("codec", CODECS)
def test_the_library_stumbles_over_a_name_that_is_not_utf8_and_we_do_not(codec: int) -> None:
    data = batch([("a", b"1")], ODD, [("b", b"2")], codec=codec, base=70)
    stock = MemoryRecords(data)
    with pytest.raises(UnicodeDecodeError):
        list(stock.next_batch())
    assert read(data) == [plain([("a", b"1")], 0, 70), plain(ODD, 1, 70), plain([("b", b"2")], 2, 70)]


def test_several_batches_keep_their_own_bytes() -> None:
    data = (
        batch([("a", b"1")]) + batch(ODD, [], base=1) + batch([], ODD, base=3) + b"the beginning of one more"
    )
    assert read(data) == [
        plain([("a", b"1")], 0),
        *(plain(ODD, 0, 1), plain([], 1, 1)),
        *(plain([], 0, 3), plain(ODD, 1, 3)),
    ]


def test_a_batch_that_the_library_can_read_is_read_by_it() -> None:
    records = Records(batch([("a", b"1")], []))
    each = records.next_batch()
    assert each is not None
    assert {type(record).__module__ for record in each} == {"aiokafka.record._crecords.default_records"}


@pytest.mark.parametrize("seed", range(100))
def test_whatever_lies_below_the_checksum_every_record_has_an_offset_of_its_own(seed: int) -> None:
    """The fetcher passes over a record whose offset is not above the one before, and over all when one is far above."""
    chance = random.Random(seed)
    data = bytearray(batch(ODD, ODD, ODD, ODD, base=50, codec=GZIP * (seed % 2)))
    for _ in range(chance.randrange(1, 6)):
        data[chance.randrange(_RECORDS_AT, len(data))] = chance.randrange(256)
    offsets = [record.offset for record in recover(bytes(data))]
    assert offsets
    assert offsets == sorted(set(offsets))
    assert set(offsets) <= {50, 51, 52, 53}


def _recovered(data: bytes) -> Any:
    each = Records(data).next_batch()
    assert each is not None
    return each


def test_of_a_record_without_structure_the_bytes_are_kept() -> None:
    data = bytearray(batch([], []))
    data[_RECORDS_AT:] = b"\xff" * (len(data) - _RECORDS_AT)
    [found] = _recovered(bytes(data))
    assert (found.offset, found.value) == (1, bytes(data[_RECORDS_AT:]))


@pytest.mark.parametrize("codec", range(1, 8))
def test_a_batch_that_cannot_be_unpacked_is_kept_as_it_is(codec: int) -> None:
    """There are four codecs; a batch can name one of seven."""
    data = bytearray(batch([], [], base=8))
    data[22] |= codec
    [found] = _recovered(bytes(data))
    assert (found.offset, found.value) == (9, bytes(data[_RECORDS_AT:]))
