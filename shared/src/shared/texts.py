"""What people wrote, checked before it is kept: it ends up on labels, in mails and in terminals."""

import re

from shared.errors import Code, Refusal

_CONTROLS = "\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
"""Unicode's C0, DEL and C1, and what overrides the direction of writing."""
_IN_A_LINE = re.compile(f"[{_CONTROLS}]")
_IN_LINES = re.compile(rf"(?![\n\t])[{_CONTROLS}]")


def checked(name: str, value: str, longest: int, *, lines: bool = False) -> str:
    """The value, of `longest` characters at most, without control characters; in `lines` it may have line feeds and tabs.

    Raises Refusal BAD_INPUT, which tells the argument's name.
    """
    if len(value) > longest:
        raise Refusal(Code.BAD_INPUT, f"{name} has {longest} characters at most", argument=name)
    if (_IN_LINES if lines else _IN_A_LINE).search(value):
        raise Refusal(Code.BAD_INPUT, f"{name} has a control character", argument=name)
    return value
