"""Ordermesh's sandbox: stand-ins for Stripe, Shippo, Twilio, Slack, an SMTP relay and an OIDC issuer, for development and tests.

Promises: the official SDKs talk to it over real sockets; every effect is written once, for good, to a record that
tests compare with; signed webhooks are sent until they are accepted; state survives a restart when `STATE` names a file.
Never: moves money, sends anything beyond the configured webhook URLs, or knows a service of Ordermesh.
"""

from sandbox.app import Box, running
from sandbox.faults import Faults
from sandbox.settings import Settings

__all__ = ["Box", "Faults", "Settings", "running"]
