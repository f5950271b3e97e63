"""`python -m shipping [serve|migrate|dlq|outbox|stuck]`."""

from shared.main import main

main("shipping")
