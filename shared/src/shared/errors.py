"""How a caller is told no: one exception, with a code from one closed, documented list."""

from enum import StrEnum


class Code(StrEnum):
    """Every `extensions.code` of a service; the gateway has some of its own (ARCHITECTURE has a table of both)."""

    UNAUTHENTICATED = "UNAUTHENTICATED"  # no token, or one that does not verify
    FORBIDDEN = "FORBIDDEN"  # the token is good, its role or scope does not allow this
    BAD_INPUT = "BAD_INPUT"  # an argument is malformed or out of bounds
    ORDER_NOT_FOUND = "ORDER_NOT_FOUND"  # no such order, or not one that the caller may see
    SHIPMENT_NOT_FOUND = "SHIPMENT_NOT_FOUND"  # likewise
    SKU_NOT_FOUND = "SKU_NOT_FOUND"  # the catalogue does not list it
    SKU_UNAVAILABLE = "SKU_UNAVAILABLE"  # the catalogue lists it as not for sale now
    INVALID_DISCOUNT = (
        "INVALID_DISCOUNT"  # the code is unknown, not valid now, used up, or the order is too small for it
    )
    INVALID_QUOTE = "INVALID_QUOTE"  # the shipping quote is not ours, has expired, or is for another order
    INVALID_TRANSITION = "INVALID_TRANSITION"  # the status table refuses; `allowed` names what it allows
    NOT_CANCELLABLE = "NOT_CANCELLABLE"  # something was shipped already, or the order has ended
    NOT_REFUNDABLE = "NOT_REFUNDABLE"  # nothing was captured, or all of it went back
    REFUND_EXCEEDS_CAPTURED = "REFUND_EXCEEDS_CAPTURED"  # `refundable` says how much is left
    ON_HOLD = "ON_HOLD"  # the order must not go out yet, nor a part of its money back; `reason` says why
    ORDER_CHANGED = "ORDER_CHANGED"  # it is no longer what the preview was made of: preview again
    RATE_LIMITED = "RATE_LIMITED"  # too many calls: again after `retryAfter` seconds
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"  # the key was used with other arguments
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"  # it is starting, or its database or a token's issuer is away: repeat, a mutation under its Idempotency-Key
    INTERNAL = "INTERNAL"  # our fault; the log has it under the request's id


class Refusal(Exception):
    """The command cannot be done. Carries a closed code, a sentence for people, and details for programs."""

    def __init__(self, code: Code, message: str, **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
