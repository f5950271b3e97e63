"""`python -m notifications [serve|migrate|replay]`."""

from shared.main import main

main("notifications")
