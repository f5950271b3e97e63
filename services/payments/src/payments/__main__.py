"""`python -m payments [serve|migrate|dlq|outbox|stuck]`."""

from shared.main import main

main("payments")
