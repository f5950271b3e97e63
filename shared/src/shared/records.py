"""Records as the broker has them, whatever is in them: one that the library cannot decode must not take others with it.

aiokafka decodes header names as UTF-8 while it iterates over a fetched batch. One name that is none raises out of `getmany`:
the records read before it are dropped although their positions count as consumed, and the partition stands still for ever.
The library has no seam there, so `install` puts our class under the name by which its fetcher finds its own. A batch that it
can read costs one more list; one that it cannot is read again here, record by record, and nothing of it is lost.
Source of the layout: kafka.apache.org/documentation, "Record Batch"; KIP-98. A wrong checksum stays an error.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.consumer import fetcher
from aiokafka.errors import UnsupportedCodecError
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH = struct.Struct(">i")
_LENGTH_AT, _OVERHEAD = 8, 12
_DECODERS = {1: gzip_decode, 2: snappy_decode, 3: lz4_decode, 4: zstd_decode}
_COMPRESSION, _LOG_APPEND_TIME = 0x07, 0x08
_MAGIC = 2


def install() -> None:
    """Every consumer of this process reads by `Records` from now on. Raises RuntimeError when the library has moved."""
    if not hasattr(fetcher, "MemoryRecords"):
        raise RuntimeError("aiokafka's fetcher does not look up MemoryRecords any more")
    fetcher.MemoryRecords = Records


@dataclass(frozen=True, slots=True)
class Recovered:
    """A record that the library could not read; a byte of a header's name that is no UTF-8 is a lone surrogate.

    Where even its structure is broken, `value` is all that was found of it.
    """

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    checksum: None = None


class Records:
    """What the fetcher uses of the library's class of the same task."""

    __slots__ = ("_data", "_inner", "_position")

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0
        self._inner = MemoryRecords(data)

    def size_in_bytes(self) -> int:
        return int(self._inner.size_in_bytes())

    def has_next(self) -> bool:
        return bool(self._inner.has_next())

    def next_batch(self) -> "Batch | None":
        """Raises CorruptRecordException."""
        batch = self._inner.next_batch()
        if batch is None:
            return None
        start = self._position
        self._position += _OVERHEAD + _LENGTH.unpack_from(self._data, start + _LENGTH_AT)[0]
        return Batch(batch, memoryview(self._data)[start : self._position])


class Batch:
    """The library's batch, read all at once so that a record that cannot be read is known before any is handed out."""

    __slots__ = ("_inner", "_raw")

    def __init__(self, inner: Any, raw: memoryview) -> None:
        self._inner, self._raw = inner, raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __next__(self) -> Any:
        return next(self._inner)

    def __iter__(self) -> Iterator[Any]:
        """Raises UnsupportedCodecError: the batch is fine, this installation is not."""
        try:
            return iter(list(self._inner))
        except Exception as unreadable:
            known = self._inner.magic >= _MAGIC and self._inner.compression_type in _DECODERS
            if self._inner.magic < _MAGIC or (known and isinstance(unreadable, UnsupportedCodecError)):
                raise
            return iter(recover(bytes(self._raw)))


def recover(batch: bytes) -> Sequence[Recovered]:
    """The records of a batch whose checksum is right, as far as they can be told apart; always up to the batch's last offset."""
    base, _, _, _, _, attributes, last_delta, first, newest, _, _, _, count = _HEADER.unpack_from(batch)
    kind = int(bool(attributes & _LOG_APPEND_TIME))
    body = batch[_HEADER.size :]
    try:
        if attributes & _COMPRESSION:
            body = bytes(_DECODERS[attributes & _COMPRESSION](body))
    except Exception:  # noqa: BLE001 - each codec raises its own
        return [Recovered(base + last_delta, newest, kind, None, body)]
    found: list[Recovered] = []
    buffer, at, after = bytearray(body), 0, -1
    while at < len(buffer) and after < last_delta and len(found) < count:
        raw, at = _next(buffer, at)
        record = _one(raw, base, newest if kind else first, kind)
        if record is None or not after < record.offset - base <= last_delta:
            # The fetcher passes over an offset that is not above the one before it.
            delta = after + 1 if at < len(buffer) else last_delta
            record = Recovered(base + delta, newest, kind, None, bytes(raw))
        found.append(record)
        after = record.offset - base
    return found


def _next(buffer: bytearray, at: int) -> tuple[bytearray, int]:
    """The next record and where the one behind it begins; all the rest where its length makes no sense."""
    try:
        length, start = decode_varint(buffer, at)
    except (ValueError, IndexError):
        return buffer[at:], len(buffer)
    if length <= 0 or start + length > len(buffer):
        return buffer[at:], len(buffer)
    return buffer[start : start + length], start + length


def _one(raw: bytearray, base: int, time: int, kind: int) -> Recovered | None:
    """None for a record that is not built like one."""
    try:
        delta, at = decode_varint(raw, 1)
        offset, at = decode_varint(raw, at)
        key, at = _bytes(raw, at)
        value, at = _bytes(raw, at)
        count, at = decode_varint(raw, at)
        headers = []
        for _ in range(count):
            name, at = _bytes(raw, at)
            content, at = _bytes(raw, at)
            headers.append(((name or b"").decode("utf-8", "surrogateescape"), content))
    except (ValueError, IndexError):
        return None
    if at != len(raw):
        return None
    return Recovered(base + offset, time if kind else time + delta, kind, key, value, tuple(headers))


def _bytes(raw: bytearray, at: int) -> tuple[bytes | None, int]:
    length, at = decode_varint(raw, at)
    if length < 0:
        return None, at
    if at + length > len(raw):
        raise ValueError("a part ends outside of its record")
    return bytes(raw[at : at + length]), at + length
