"""What a search term may mean, each by an index of its own: an order's number, a parcel's, a part of a customer's name, email or phone."""

import re
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, func, literal_column, or_, select, text, true
from sqlalchemy.dialects.postgresql import JSONB

from orders.tables import SEARCHED, customers, orders
from shared.db import Database
from shared.errors import Code, Refusal

MOST_CUSTOMERS = 500
"""Whose orders a search looks through."""
_END_OF_A_PHONE, _PHONE = 4, 7
"""How many digits alone are the end of a telephone number, and how many any part of it (a subscriber's number)."""

_SHORTER_NUMBER = re.compile(r"[A-Z0-9]{2,8}-(?P<date>\d{0,8})(?:-\d{0,4})?", re.ASCII)
_LAST_PARTS = re.compile(r"(?:(?P<date>[0-9]{8})-)?(?P<sequence>[0-9]+)")
_DAYS_OF_DIGITS = {4: 366, 5: 280, 6: 31, 7: 10, 8: 1}
"""How many days begin with the same so many digits of YYYYMMDD, at most."""
_PLACED_WITHIN = timedelta(hours=1)
"""After its number was drawn."""
_HAS_TRIGRAM = re.compile(r"[^\W_]{3}")
_WITHIN_A_WORD = re.compile(r"[^\W_]{3}|[\W_][^\W_]|[^\W_]{2}[\W_]")
"""What pg_trgm takes a trigram from, wherever it stands: three letters or digits, the beginning of a word, or the end of one."""
_LETTER = re.compile(r"[^\W_]")


def meanings(term: str) -> list[ColumnElement[bool]]:
    """What a term may be of an order itself: its number, the end of that, or the number of one of its parcels."""
    found = [_numbered(term.upper())]
    for each in sorted({term, term.upper()}):
        found += [orders.c.tracking.like(prefix(each)), _of_an_earlier_parcel(each)]
    if last := _LAST_PARTS.fullmatch(term):
        found.append(_ending(last["date"], last["sequence"]))
    return found


def _ending(date_: str | None, sequence: str) -> ColumnElement[bool]:
    """Orders by the end of their number: its last part has an index, and the date before it is looked at then."""
    last = literal_column("ltrim(split_part(orders.order_number, '-', 3), '0')", Text) == sequence.lstrip("0")
    return last if date_ is None else and_(last, func.split_part(orders.c.order_number, "-", 2) == date_)


def _of_an_earlier_parcel(tracking: str) -> ColumnElement[bool]:
    """By the whole number."""
    earlier = orders.c.earlier_trackings
    return and_(earlier != literal_column("'[]'::jsonb", JSONB), earlier.has_key(tracking))


def _numbered(beginning: str) -> ColumnElement[bool]:
    """Orders by the beginning of their number: one order's, or a few, by the number's index.

    What begins alike was placed in a time that the number tells. So a shorter beginning (a day's, a year's) is a walk through
    that time, newest first; PostgreSQL, which does not know it, would walk through all. Nothing is walked where no number begins so.
    """
    alike, shorter = orders.c.order_number.like(prefix(beginning)), _SHORTER_NUMBER.fullmatch(beginning)
    if shorter is None:
        return alike
    other = orders.alias("other")
    one = select(other.c.id).where(other.c.order_number.like(prefix(beginning)))
    # In the index's order, which PostgreSQL drops in an EXISTS: then it may read the table.
    first = one.order_by(text("other.order_number USING ~<~")).limit(1)
    conditions: list[ColumnElement[bool]] = [
        first.scalar_subquery().is_not(None),
        alike.is_(true()),  # which no index is used for
    ]
    if (drawn := _drawn(shorter["date"])) is not None:
        conditions += [orders.c.created_at >= drawn[0], orders.c.created_at < drawn[1] + _PLACED_WITHIN]
    return and_(*conditions)


def _drawn(date_: str) -> tuple[datetime, datetime] | None:
    """When the numbers were drawn whose date (YYYYMMDD) begins so; None for what is none, or has not even a year."""
    if len(date_) not in _DAYS_OF_DIGITS or not date.min.year <= int(date_[:4]) < date.max.year:
        return None
    month, day = int(date_[4:6].ljust(2, "0")), int(date_[6:].ljust(2, "0"))
    try:
        first = datetime(int(date_[:4]), max(1, month), max(1, day), tzinfo=UTC)
    except ValueError:
        return None
    return first, first + timedelta(days=_DAYS_OF_DIGITS[len(date_)])


async def customers_like(db: Database, term: str) -> list[UUID]:
    """Whose name, email or phone has the term in it; a telephone number also as it is kept, whatever it was typed with.

    Nobody for signs alone: no index finds those, and all customers would be read. Nor for a few digits: they are an order's.
    """
    if not _LETTER.search(term) or (_are_digits(term) and len(term) < _END_OF_A_PHONE):
        return []
    searched = literal_column(SEARCHED, Text)
    local, at, domain = term.partition("@")
    if at and domain and _HAS_TRIGRAM.search(local):
        # The index knows hundreds of thousands of customers by their domain: it is asked for what is before it.
        indexed = searched.ilike(f"%{_escaped(local)}@%")
        part_of = and_(indexed, (searched + "").ilike(f"%{_escaped(term)}%"))
    else:
        part_of = or_(*(searched.ilike(each) for each in _patterns(term)))
    found = await db.fetch(select(customers.c.id).where(part_of).limit(MOST_CUSTOMERS + 1))
    if len(found) > MOST_CUSTOMERS:
        raise Refusal(
            Code.BAD_INPUT,
            f"More than {MOST_CUSTOMERS} customers match the search: give more of the name, email, phone or number",
            argument="search",
        )
    return [row.id for row in found]


def _patterns(term: str) -> list[str]:
    """Any part of a name, email or phone; of one or two letters, which have no trigram (Bo, 李明), the beginning of a word.

    Of some digits alone, the end of a phone: within the texts of many customers they stand somewhere by chance.
    """
    if _are_digits(term) and len(term) < _PHONE:
        return [f"%{term}"]
    if _WITHIN_A_WORD.search(term):
        return [f"%{_escaped(each)}%" for each in sorted({term, *_digits(term)})]
    return [f"{before}{_escaped(term)}%" for before in ("", "% ", "%\n")]


def _digits(term: str) -> list[str]:
    """Of what looks like a telephone number: (415) 555-0123 is kept as +14155550123."""
    digits = "".join(letter for letter in term if letter in "0123456789")
    looks = all(letter in "0123456789 ()+-./" for letter in term)
    return [digits] if looks and len(digits) >= _PHONE else []


def _are_digits(term: str) -> bool:
    return term.isascii() and term.isdigit()


def prefix(term: str) -> str:
    return f"{_escaped(term)}%"


def _escaped(term: str) -> str:
    """LIKE's wildcards as themselves."""
    return term.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
