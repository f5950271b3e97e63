"""What a shipping quote is for, in two hashes: shipping signs them, and orders holds them against what is ordered."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping

ADDRESS_FIELDS = ("street", "street2", "city", "state", "zip_code", "country")
"""What carriers price by; the name and the phone number are no part of it."""


def destination_hash(address: Mapping[str, str | None]) -> str:
    """The same for addresses that differ only in case, in surrounding spaces, or in what is no part of ADDRESS_FIELDS. Hex SHA-256."""
    canonical = [(address.get(field) or "").strip().upper() for field in ADDRESS_FIELDS]
    return hashlib.sha256(json.dumps(canonical).encode()).hexdigest()


def items_hash(items: Iterable[tuple[str, int]]) -> str:
    """Of SKUs and quantities, whatever their order; a SKU that is named twice counts with its sum. Hex SHA-256."""
    quantities: Counter[str] = Counter()
    for sku, quantity in items:
        quantities[sku] += quantity
    return hashlib.sha256(json.dumps(sorted(quantities.items())).encode()).hexdigest()
