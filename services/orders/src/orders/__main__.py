"""`python -m orders [serve|migrate|dlq|outbox|stuck]`."""

from shared.main import main

main("orders")
