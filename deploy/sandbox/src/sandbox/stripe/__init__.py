"""Stripe's payment API as far as a shop needs it: payment intents, charges, balance transactions, refunds, events.

Promises: answers have Stripe's shapes and error codes, idempotency keys have Stripe's semantics, and a charge's fee is not
there when the payment succeeds: it comes later with `charge.updated`, as under Stripe's asynchronous capture.
Not here: manual capture, customers, saved payment methods, disputes, payouts.
"""
