"""From rows and JSON to dataclasses."""

from dataclasses import asdict, dataclass

import pytest

from shared.mapping import decoder
from support.orders import a_line


@dataclass(frozen=True)
class Parcel:
    name: str
    weight: int = 7


def test_json_is_decoded_by_name_whatever_its_order() -> None:
    line = a_line()
    assert decoder(type(line))(dict(reversed(asdict(line).items()))) == line


def test_what_was_written_before_a_field_existed_has_its_default() -> None:
    assert decoder(Parcel)({"name": "old"}) == Parcel("old")


def test_what_a_dataclass_cannot_do_without_is_missed() -> None:
    with pytest.raises(TypeError, match="name"):
        decoder(Parcel)({"weight": 1})
