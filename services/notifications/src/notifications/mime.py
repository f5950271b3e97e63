"""An email's bytes, written out once: text and HTML alternatives, quoted-printable, CRLF. Pure.

The library's message classes cost several times the sending itself (research/costs.md, section 7). Source: RFC 5322, 2046, 2045.
"""

from binascii import b2a_qp
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.utils import format_datetime


@dataclass(frozen=True, slots=True)
class Mail:
    """`sender`, `to` and `order_id` must be free of line breaks; `at` is UTC; `message_id` has its angle brackets."""

    sender: str
    to: str
    subject: str
    text: str
    html: str
    message_id: str
    order_id: str
    at: datetime

    def __bytes__(self) -> bytes:
        # The id is unique and of hexadecimal digits: it cannot occur as a line of the parts, where "=" is escaped.
        boundary = f"=_{self.order_id}"
        headers = {
            "From": self.sender,
            "To": self.to,
            "Subject": _header(self.subject),
            "Date": format_datetime(self.at),
            "Message-ID": self.message_id,
            "X-Order-Id": self.order_id,
            # No out-of-office note shall answer it. Source: RFC 3834.
            "Auto-Submitted": "auto-generated",
            "MIME-Version": "1.0",
            "Content-Type": f'multipart/alternative; boundary="{boundary}"',
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        delimiter = b"--" + boundary.encode()
        parts = (_part("plain", self.text), _part("html", self.html))
        body = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
        return head.encode() + b"\r\n" + body + delimiter + b"--\r\n"


def _header(value: str) -> str:
    one_line = " ".join(value.split())
    return one_line if one_line.isascii() else Header(one_line, "utf-8").encode(linesep="\r\n")


def _part(subtype: str, content: str) -> bytes:
    head = (
        f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    )
    lines = "\n".join(content.splitlines())
    return head.encode() + b2a_qp(lines.encode(), istext=True).replace(b"\n", b"\r\n")
