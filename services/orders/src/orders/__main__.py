"""`python -m orders [serve|migrate|replay]`."""

from shared.service import main

from orders.app import build

main("orders", build)
