"""`python -m shipping [serve|migrate|replay]`."""

from shared.service import main
from shipping.app import build

main("shipping", build)
