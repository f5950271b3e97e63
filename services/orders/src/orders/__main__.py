"""`python -m orders [serve|migrate|replay]`."""

from shared.main import main

main("orders")
