"""From a template and its values to words: plain text, HTML, Slack's dialect. Pure; a missing value raises UndefinedError.

What a customer typed can do no harm: HTML is escaped, Slack's control characters too, and a name that looks like a link is
not repeated to whoever is said to have it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from shared.contracts.money import exponent

MAX_NAME = 60
# Somebody else's mailbox must not be sent an advertisement that was typed as a customer's name.
_LIKE_A_LINK = re.compile(r"[/:@<>\\]|\.\w")


@dataclass(frozen=True, slots=True)
class Link:
    label: str
    url: str


def money(minor: int, currency: str) -> str:
    """Minor units as people read them: 1999 USD is "19.99 USD"."""
    digits = exponent(currency)
    whole, part = divmod(minor, 10**digits)
    return f"{whole}.{part:0{digits}} {currency}" if digits else f"{whole} {currency}"


def _slack(value: object) -> object:
    """Source: Slack, formatting text for app surfaces: &, < and > are its control characters."""
    text = value if isinstance(value, str) else str(value)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_plain = Environment(
    autoescape=select_autoescape(["html"], default_for_string=False),
    loader=PackageLoader("notifications"),
    undefined=StrictUndefined,
    trim_blocks=True,
)
_for_slack = _plain.overlay(finalize=_slack)
for _environment in (_plain, _for_slack):
    _environment.filters["money"] = money


_email = _plain.get_template("email.html")


@cache
def _compiled(source: str, *, slack: bool = False) -> Template:
    return (_for_slack if slack else _plain).from_string(source)


def plain(sources: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    return _rendered([_compiled(source) for source in sources], values)


def slack(source: str, values: Mapping[str, Any]) -> str:
    return _rendered([_compiled(source, slack=True)], values)[0]


def _rendered(templates: Sequence[Template], values: Mapping[str, Any]) -> list[str]:
    """In one context, and without the environment's globals: Jinja's `render` spends most of its time on copying them."""
    context = templates[0].new_context(dict(values), shared=True)
    return ["".join(template.root_render_func(context)).strip() for template in templates]


def email_text(paragraphs: Sequence[str], link: Link | None) -> str:
    linked = [f"{link.label}: {link.url}"] if link else []
    return "\n\n".join([*paragraphs, *linked]) + "\n"


def email_html(subject: str, paragraphs: Sequence[str], link: Link | None) -> str:
    return _rendered([_email], {"subject": subject, "paragraphs": paragraphs, "link": link})[0]


def greeting(name: str) -> str:
    """`Hello Ada,`, or without the name where it is none."""
    said = " ".join(name.split())
    fit = said and len(said) <= MAX_NAME and not _LIKE_A_LINK.search(said)
    return f"Hello {said}," if fit else "Hello,"
