"""The composition root of notifications."""

from notifications.channels import Email, Slack, Sms
from notifications.handlers import handlers
from notifications.schema import schema
from notifications.settings import Settings
from notifications.worker import Sender, jobs_for
from shared.service import Service


def build(settings: Settings | None = None) -> Service:
    """Raises pydantic.ValidationError or ValueError for settings that make no sense."""
    settings = settings or Settings()
    email, sms, slack = _email(settings), _sms(settings), _slack(settings)
    return Service(
        "notifications",
        settings,
        handlers=handlers,
        jobs=jobs_for(Sender(email, sms, slack), slack_every=settings.slack_every),
        schema=schema,
        closing=[channel.close for channel in (email, sms, slack) if channel is not None],
    )


def _email(settings: Settings) -> Email | None:
    url = settings.smtp_url.get_secret_value()
    if not url:
        return None
    return Email(url, settings.email_from, shop=settings.shop_name, timeout_seconds=settings.provider_timeout)


def _sms(settings: Settings) -> Sms | None:
    token = settings.twilio_auth_token.get_secret_value()
    if not (settings.twilio_account_sid and token and settings.twilio_phone_number):
        return None
    return Sms(
        settings.twilio_api_base,
        settings.twilio_account_sid,
        token,
        settings.twilio_phone_number,
        shop=settings.shop_name,
        timeout_seconds=settings.provider_timeout,
    )


def _slack(settings: Settings) -> Slack | None:
    url = settings.slack_webhook_url.get_secret_value()
    return Slack(url, timeout_seconds=settings.provider_timeout) if url else None
