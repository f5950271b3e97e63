"""Payments: how each order is paid, and what goes back.

Owns: payments (one an order) and their refunds, and alone speaks to Stripe. Hears: order.placed, order.paid,
order.cancelled, order.refund_requested, and Stripe's webhooks. Says: payment.ready, .processing, .failed, .captured, .fee_recorded,
.settled, .refunded, .refund_failed, .cancelled. Never knows: an order's status, its shipping, who the customer is beyond an id.
"""
