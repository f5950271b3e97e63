"""Pages of objects, newest first, and search by metadata."""

import re
from typing import Any

from sandbox.endpoint import Answer
from sandbox.state import ANY_TIME
from sandbox.stripe import params as read
from sandbox.stripe.account import Account
from sandbox.stripe.errors import Invalid
from sandbox.stripe.objects import Json

DEFAULT_LIMIT, MAX_LIMIT = 10, 100
PAGING = frozenset({"limit", "starting_after", "created", "expand"})
CLAUSE = re.compile(
    r"""\s*(?:metadata\[(['"])(?P<key>.+?)\1\]|(?P<field>\w+))\s*:\s*(['"])(?P<value>.*?)\4\s*"""
)
BOUNDS = {"gte": (0, 0), "gt": (0, 1), "lte": (1, 0), "lt": (1, -1)}  # which end, and by how much it moves


def page(account: Account, kind: str, params: Json, *, link: tuple[str, str] | None = None) -> Answer:
    """The objects of a kind, those with `link` only if given."""
    limit = _limit(params)
    if "starting_after" in params:
        account.load(kind, params["starting_after"], "starting_after")
    found = account.find(
        kind,
        link=link,
        created=_created(params),
        after=params.get("starting_after"),
        limit=limit + 1,
    )
    body: Json = {
        "object": "list",
        "url": f"/v1/{kind}s",
        "has_more": len(found) > limit,
        "data": found[:limit],
    }
    return Answer.json(account.expand(body, read.expansions(params)))


def search(account: Account, kind: str, params: Json) -> Answer:
    """`metadata['name']:'value'` and `field:'value'` joined by AND; at least one clause on metadata. No delay here,
    while Stripe's index runs up to a minute late.
    """
    read.only(params, frozenset({"query", "limit", "page", "expand"}))
    metadata, fields = _clauses(str(read.required(params, "query")))
    limit = _limit(params)
    (name, value), *others = metadata.items()
    matches = [
        subject
        for subject in account.state.find(f"stripe.{kind}", link=(f"metadata.{name}", value), limit=2**31)
        if all(subject["metadata"].get(key) == wanted for key, wanted in others)
        and all(str(subject.get(field)) == wanted for field, wanted in fields.items())
    ]
    start = read.integer(params.get("page", "0"), "page")
    more = len(matches) > start + limit
    body: Json = {
        "object": "search_result",
        "url": f"/v1/{kind}s/search",
        "has_more": more,
        "next_page": str(start + limit) if more else None,
        "data": matches[start : start + limit],
    }
    return Answer.json(account.expand(body, read.expansions(params)))


def _clauses(query: str) -> tuple[dict[str, str], dict[str, str]]:
    metadata: dict[str, str] = {}
    fields: dict[str, str] = {}
    position = 0
    while match := CLAUSE.match(query, position):
        if match["key"] is not None:
            metadata[match["key"]] = match["value"]
        else:
            fields[match["field"]] = match["value"]
        position = match.end()
        if query[position : position + 4].upper() == "AND ":
            position += 4
    if position != len(query) or not metadata:
        raise Invalid(
            "We were unable to parse your search query; the sandbox wants metadata['key']:'value'",
            param="query",
        )
    return metadata, fields


def _limit(params: Json) -> int:
    limit = read.integer(params.get("limit", DEFAULT_LIMIT), "limit")
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid(f"This value must be between 1 and {MAX_LIMIT} (inclusive)", param="limit")
    return limit


def _created(params: Json) -> tuple[int, int]:
    created: Any = params.get("created")
    if created is None:
        return ANY_TIME
    if not isinstance(created, dict):
        second = read.integer(created, "created")
        return second, second
    ends = list(ANY_TIME)
    for name, value in created.items():
        if name not in BOUNDS:
            raise Invalid(
                f"Received unknown parameter: created[{name}]", code="parameter_unknown", param="created"
            )
        end, shift = BOUNDS[name]
        ends[end] = read.integer(value, f"created[{name}]") + shift
    return ends[0], ends[1]
