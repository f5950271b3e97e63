"""Settings that would lose or repeat something are refused at start."""

import pytest
from pydantic import ValidationError

from shared.contracts.topics import TOPICS
from shared.settings import ServiceSettings, from_environment

GIVEN = {"database_url": "postgresql://u:hush@localhost/x", "kafka_url": "localhost:9092"}


def test_the_inbox_remembers_longer_than_the_broker_and_the_event_log() -> None:
    settings = ServiceSettings(**GIVEN)  # type: ignore[arg-type] # pydantic converts
    assert settings.inbox_retention_days > settings.event_log_retention_days
    assert settings.inbox_retention_days > max(topic.retention_days for topic in TOPICS)


def test_an_event_log_kept_longer_than_the_inbox_is_refused() -> None:
    with pytest.raises(ValidationError, match="INBOX_RETENTION_DAYS"):
        ServiceSettings(**GIVEN, event_log_retention_days=30, inbox_retention_days=30)  # type: ignore[arg-type]


def test_secrets_do_not_show() -> None:
    assert "hush" not in repr(ServiceSettings(**GIVEN))  # type: ignore[arg-type]


def test_a_setting_that_is_no_json_is_a_sentence_and_shows_nothing_of_what_was_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**GIVEN, "auth_issuers": "hush"}.items():
        monkeypatch.setenv(name.upper(), value)
    with pytest.raises(SystemExit, match="AUTH_ISSUERS: no JSON") as refused:
        from_environment(ServiceSettings)
    assert refused.value.__suppress_context__
