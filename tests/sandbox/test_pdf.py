"""The label generator: its cross-reference table says where the objects really are."""

import re

from sandbox.pdf import label


def test_every_offset_of_the_table_points_at_its_object() -> None:
    document = label(["To: Ada (rear)", "Zoë \\ Łódź", "1Z999"])
    assert document.startswith(b"%PDF-1.4\n")
    assert document.endswith(b"%%EOF\n")
    start = re.search(rb"startxref\n(\d+)\n", document)
    assert start is not None
    table = document[int(start[1]) :]
    assert table.startswith(b"xref\n0 6\n0000000000 65535 f \n")
    offsets = [int(offset) for offset in re.findall(rb"(\d{10}) 00000 n \n", table)]
    assert len(offsets) == 5
    for number, offset in enumerate(offsets, start=1):
        assert document[offset:].startswith(b"%d 0 obj\n" % number)


def test_the_stream_is_as_long_as_it_says_and_holds_the_lines() -> None:
    document = label(["To: Ada (rear)", "Zoë \\ Łódź"])
    found = re.search(rb"/Length (\d+) >>\nstream\n(.*)\nendstream", document, re.DOTALL)
    assert found is not None
    assert int(found[1]) == len(found[2])
    assert rb"(To: Ada \(rear\)) Tj" in found[2]
    assert "(Zoë \\\\ ?ód?) Tj".encode("cp1252") in found[2]
