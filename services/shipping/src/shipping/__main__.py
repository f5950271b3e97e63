"""`python -m shipping [serve|migrate|replay]`."""

from shared.main import main

main("shipping")
