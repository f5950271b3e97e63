"""What services promise each other: facts, their envelope, money, and who says what on which topic.

Imports pydantic and the standard library only. `shared/examples/<fact>/v<n>/*.json` holds every example ever promised; a
test parses them all with today's code.
"""

from shared.contracts import catalog, orders, payments, shipping
from shared.contracts.envelope import FACTS, Envelope, Fact, InvalidFact, parse_fact

__all__ = [
    "FACTS",
    "Envelope",
    "Fact",
    "InvalidFact",
    "catalog",
    "orders",
    "parse_fact",
    "payments",
    "shipping",
]
