"""`python -m notifications`."""

from notifications.app import build
from shared.service import main

main("notifications", build)
