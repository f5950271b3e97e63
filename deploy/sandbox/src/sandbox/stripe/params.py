"""Reading and validating request parameters. Everything here raises Invalid, with Stripe's codes."""

from typing import Any

from sandbox.stripe.errors import Invalid
from sandbox.stripe.objects import Json

MIN_AMOUNT, MAX_AMOUNT = 50, 99_999_999
MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE = 50, 40, 500
CURRENCY_LETTERS = 3
HASHES = frozenset(
    {"automatic_payment_methods", "created", "expand", "metadata", "payment_method_types", "shipping"}
)


def only(params: Json, allowed: frozenset[str]) -> None:
    """A misspelt or unsupported parameter is refused, as Stripe refuses it; so is a hash where a string belongs."""
    for name, value in params.items():
        if name not in allowed:
            raise Invalid(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)
        if name not in HASHES and not isinstance(value, str):
            raise Invalid("Invalid string", param=name)


def required(params: Json, name: str) -> Any:
    value = params.get(name)
    if value in (None, ""):
        raise Invalid(f"Missing required param: {name}.", code="parameter_missing", param=name)
    return value


def integer(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Invalid(f"Invalid integer: {value}", code="parameter_invalid_integer", param=name) from None


def amount(params: Json, currency: str) -> int:
    """Minor units, within Stripe's limits (the minimum is that of US dollars for every currency here)."""
    value = integer(required(params, "amount"), "amount")
    if value < MIN_AMOUNT:
        message = f"Amount must convert to at least {MIN_AMOUNT} minor units of {currency}."
        raise Invalid(message, code="amount_too_small", param="amount")
    if value > MAX_AMOUNT:
        raise Invalid(f"Amount must be no more than {MAX_AMOUNT}", code="amount_too_large", param="amount")
    return value


def currency(params: Json) -> str:
    value = str(required(params, "currency")).lower()
    if len(value) != CURRENCY_LETTERS or not value.isalpha():
        raise Invalid(f"Invalid currency: {value}.", param="currency")
    return value


def choice(params: Json, name: str, choices: tuple[str, ...]) -> str | None:
    value = params.get(name)
    if value is not None and value not in choices:
        raise Invalid(f"Invalid {name}: must be one of {', '.join(choices)}", param=name)
    return value


def hash_of(params: Json, name: str) -> Json:
    value = params.get(name, {})
    if not isinstance(value, dict):
        raise Invalid("Invalid hash", param=name)
    return value


def boolean(params: Json, name: str) -> bool:
    return choice(params, name, ("true", "false")) == "true"


def metadata(params: Json) -> dict[str, str]:
    values = params.get("metadata") or {}
    if not isinstance(values, dict):
        raise Invalid("Invalid hash", param="metadata")
    if len(values) > MAX_METADATA:
        raise Invalid(f"Metadata can have at most {MAX_METADATA} keys", param="metadata")
    for name, value in values.items():
        if not isinstance(value, str) or len(name) > MAX_METADATA_KEY or len(value) > MAX_METADATA_VALUE:
            message = (
                f"Metadata keys have up to {MAX_METADATA_KEY} characters, values up to {MAX_METADATA_VALUE}"
            )
            raise Invalid(message, param=f"metadata[{name}]")
    return values


def expansions(params: Json) -> list[str]:
    paths = params.get("expand") or []
    return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []
