"""`python -m payments [serve|migrate|replay]`."""

from shared.main import main

main("payments")
