"""Checkout: what an order would cost, and placing it."""
