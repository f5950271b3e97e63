"""A one-page PDF of text lines: enough for a label that any viewer opens and any printer prints."""

WIDTH, HEIGHT = 288, 432  # 4 x 6 inches in points, the usual label
MARGIN, LEADING, SIZE = 24, 16, 11


def label(lines: list[str]) -> bytes:
    """A 4 x 6 inch page with `lines` from the top, in Helvetica; characters outside Windows-1252 become '?'."""
    content = _text(lines)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Resources << /Font << /F1 4 0 R >> >> /Contents 5 0 R >>"
        % (WIDTH, HEIGHT),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
    ]
    document = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")  # the second line marks the file as binary
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(document))
        document += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(document)
    document += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        document += b"%010d 00000 n \n" % offset
    document += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(document)


def _text(lines: list[str]) -> bytes:
    shown = [b"BT /F1 %d Tf %d TL %d %d Td" % (SIZE, LEADING, MARGIN, HEIGHT - MARGIN - SIZE)]
    for line in lines:
        escaped = line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        shown.append(b"(%b) Tj T*" % escaped.encode("cp1252", "replace"))
    return b"\n".join([*shown, b"ET"])
