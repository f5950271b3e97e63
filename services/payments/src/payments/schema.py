"""The subgraph of payments: `Order.payment`, and what went back. Refunds are asked of orders; here it is only confirmed that money was
handed back outside.

Amounts are Float in major units with exact cents, times ISO 8601 in UTC.
"""

from functools import partial
from typing import Self
from uuid import UUID

import strawberry

from payments import domain, refunds
from payments.domain import PaymentState
from payments.handlers import settle
from payments.refunds import RefundState
from payments.store import PAYMENTS, REFUNDS, find_payments, find_refunds, order_of_refund
from shared import commands
from shared.auth import Principal, Role, Scope
from shared.contracts.money import to_major
from shared.errors import Code, Refusal
from shared.graphql import Info, iso, maybe_iso
from shared.tx import Tx

strawberry.enum(
    PaymentState,
    description="Where the payment stands at the provider; the order's own paymentStatus is in orders.",
)
strawberry.enum(RefundState, name="PaymentRefundState")


@strawberry.type(description="Money on its way back to the shopper.")
class PaymentRefund:
    id: strawberry.ID
    amount: float
    reason: str
    status: RefundState
    created_at: str

    @classmethod
    def of(cls, refund: refunds.Refund, currency: str) -> Self:
        return cls(
            id=strawberry.ID(str(refund.id)),
            amount=to_major(refund.amount, currency),
            reason=refund.reason,
            status=refund.status,
            created_at=iso(refund.created_at),
        )


@strawberry.type(description="How the order is paid. Its id is the order's.")
class Payment:
    id: strawberry.ID
    status: PaymentState
    method: str
    amount: float
    currency: str
    captured_amount: float
    external_amount: float = strawberry.field(
        description="What of capturedAmount came from outside and not by card."
    )
    refunded_amount: float
    fee: float | None = strawberry.field(
        description="What the provider kept, in feeCurrency; for staff only."
    )
    fee_currency: str | None = strawberry.field(description="For staff only.")
    client_secret: str | None = strawberry.field(
        description="What the shopper pays with; there while the payment can be made, for who may make it."
    )
    payment_intent_id: str | None
    failure_code: str | None
    created_at: str
    captured_at: str | None
    settled_at: str | None = strawberry.field(
        description="When the provider had it available for us, days after the capture."
    )
    order_id: strawberry.Private[UUID]

    @strawberry.field
    async def refunds(self, info: Info) -> list[PaymentRefund]:
        context = info.context
        load = partial(find_refunds, context.service.db, context.principal)
        found = await context.loader("refunds", load).load(self.order_id)
        return [PaymentRefund.of(refund, self.currency) for refund in found]

    @classmethod
    def of(cls, payment: domain.Payment, principal: Principal) -> Self:
        # What we pay the provider is nobody's business but ours.
        fee, fee_currency = (
            (payment.fee, payment.fee_currency) if principal.role is Role.STAFF else (None, None)
        )
        return cls(
            id=strawberry.ID(str(payment.order_id)),
            status=payment.status,
            method=payment.method,
            amount=to_major(payment.amount, payment.currency),
            currency=payment.currency,
            captured_amount=to_major(payment.captured_amount, payment.currency),
            external_amount=to_major(payment.captured_amount - payment.card_amount, payment.currency),
            refunded_amount=to_major(payment.refunded_amount, payment.currency),
            fee=to_major(fee, fee_currency) if fee is not None and fee_currency else None,
            fee_currency=fee_currency,
            client_secret=payment.client_secret if _may_pay(payment, principal) else None,
            payment_intent_id=payment.payment_intent_id,
            failure_code=payment.failure_code,
            created_at=iso(payment.created_at),
            captured_at=maybe_iso(payment.captured_at),
            settled_at=maybe_iso(payment.settled_at),
            order_id=payment.order_id,
        )


@strawberry.federation.type(keys=["id"])
class Order:
    id: strawberry.ID
    payment: Payment | None

    @classmethod
    async def resolve_reference(cls, info: Info, id: strawberry.ID) -> Self | None:  # noqa: A002 - the key's name
        """None for an order that is unknown here, or that the caller may not see."""
        try:
            order_id = UUID(id)
        except ValueError:
            return None
        context = info.context
        load = partial(find_payments, context.service.db, context.principal)
        payment = await context.loader("payments", load).load(order_id)
        return cls(id=id, payment=Payment.of(payment, context.principal)) if payment else None


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description="The shopper has the money of a refund that was EXTERNAL_DUE. Said again, it changes nothing. Staff (finance)."
    )
    async def confirm_external_refund(self, info: Info, refund_id: strawberry.ID) -> PaymentRefund:
        context, unknown = info.context, Refusal(Code.BAD_INPUT, "No such refund", argument="refundId")
        context.principal.require_staff(Scope.FINANCE)
        service, key = context.service, commands.uuid_or(refund_id, unknown)
        order_id = await order_of_refund(service.db, key)
        if order_id is None:
            raise unknown

        async def command(tx: Tx) -> str:
            decision = refunds.confirm(tx.get(PAYMENTS, order_id), tx.get(REFUNDS, key), tx.now)
            tx.save(REFUNDS, decision.refund)
            settle(tx, decision)
            return str(key)

        await commands.execute(
            service.db,
            service.name,
            command,
            (PAYMENTS, [str(order_id)]),
            (REFUNDS, [str(order_id)]),
            correlation_id=context.correlation_id,
            once=context.once("confirmExternalRefund", {"refundId": refund_id}),
        )
        [payment] = await find_payments(service.db, context.principal, [order_id])
        [of_order] = await find_refunds(service.db, context.principal, [order_id])
        done = next(refund for refund in of_order if refund.id == key)
        return PaymentRefund.of(done, payment.currency if payment else "")


def _may_pay(payment: domain.Payment, principal: Principal) -> bool:
    """Whoever sees the payment as the order's shopper, with an account or without, or as staff; a partner sees it too, and pays elsewhere."""
    return payment.is_payable and principal.role in {Role.SHOPPER, Role.GUEST, Role.STAFF}


schema = strawberry.federation.Schema(mutation=Mutation, types=[Order])
