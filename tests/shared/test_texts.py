"""What people wrote is kept as it is, or refused by its argument's name."""

import pytest

from shared.errors import Code, Refusal
from shared.texts import checked

ODD = [*map(chr, (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)))]
LINES = {"\n", "\t"}


def said(text: str, *, lines: bool = False) -> str:
    with pytest.raises(Refusal) as refused:
        checked("note", f"a{text}b", 9, lines=lines)
    assert refused.value.code is Code.BAD_INPUT
    return refused.value.message


def test_control_characters_are_refused() -> None:
    assert {said(odd) for odd in ODD} == {"note has a control character"}
    assert {said(odd, lines=True) for odd in ODD if odd not in LINES} == {"note has a control character"}


def test_text_in_lines_has_line_feeds_and_tabs() -> None:
    assert checked("note", "a\n\tb", 9, lines=True) == "a\n\tb"


def test_what_people_write_is_kept() -> None:
    for text in ("", "Zoë Łukasz", "東京都", "עברית", "👩‍👩‍👧", "O'Neil & Co."):
        assert checked("note", text, 20) == text


def test_too_long_a_text_is_refused() -> None:
    assert said("x" * 8) == "note has 9 characters at most"
