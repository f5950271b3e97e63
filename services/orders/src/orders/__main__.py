"""`python -m orders [serve|migrate|replay]`."""

from orders.app import build
from shared.service import main

main("orders", build)
