"""`python -m notifications [serve|migrate|dlq|outbox|stuck]`."""

from shared.main import main

main("notifications")
