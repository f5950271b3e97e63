"""Emails and SMS to customers, and Slack alerts to the shop's staff, about what happened to an order.

Owns: contacts (who an order's messages go to) and notifications (what was to be sent, and what became of it).
Hears: order-events for customers' messages and alerts, payment-events and shipment-events for alerts only.
Says: nothing. Never knows: what an order's status is, or what may happen to it next.
"""
