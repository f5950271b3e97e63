"""How a caller is told no: one exception, with a code from one closed, documented list."""

from enum import StrEnum


class Code(StrEnum):
    """Every value that `extensions.code` of an error may have."""

    UNAUTHENTICATED = "UNAUTHENTICATED"  # no token, or one that does not verify
    FORBIDDEN = "FORBIDDEN"  # the token is good, its role or scope does not allow this
    BAD_INPUT = "BAD_INPUT"  # an argument is malformed or out of bounds
    ORDER_NOT_FOUND = "ORDER_NOT_FOUND"  # no such order, or not one that the caller may see
    SHIPMENT_NOT_FOUND = "SHIPMENT_NOT_FOUND"  # likewise
    SKU_NOT_FOUND = "SKU_NOT_FOUND"  # the catalogue does not list it
    SKU_UNAVAILABLE = "SKU_UNAVAILABLE"  # the catalogue lists it as not for sale now
    INVALID_TRANSITION = "INVALID_TRANSITION"  # the status table refuses; `allowed` names what it allows
    NOT_CANCELLABLE = "NOT_CANCELLABLE"  # something was shipped already, or the order has ended
    NOT_REFUNDABLE = "NOT_REFUNDABLE"  # nothing was captured, or all of it went back
    REFUND_EXCEEDS_CAPTURED = "REFUND_EXCEEDS_CAPTURED"  # `refundable` says how much is left
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"  # the key was used with other arguments
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"  # it is starting, or its database is away: repeat, a mutation under its Idempotency-Key
    INTERNAL = "INTERNAL"  # our fault; the log has it under the request's id


class Refusal(Exception):
    """The command cannot be done. Carries a closed code, a sentence for people, and details for programs."""

    def __init__(self, code: Code, message: str, **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
