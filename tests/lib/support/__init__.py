"""What tests share: a small aggregate to exercise the plumbing with, and builders of orders, facts and records."""
