"""What the user may choose."""

from pathlib import Path

import pytest

from ordermesh.errors import LauncherError
from ordermesh.settings import CHECKOUT, Settings


def test_by_default_everything_is_embedded_in_the_checkout() -> None:
    settings = Settings.read({})
    assert settings.ordermesh_home == CHECKOUT / ".run"
    assert (CHECKOUT / "Makefile").exists()
    assert settings.kafka_url is None
    assert settings.database_url("orders") is None


def test_the_environment_chooses() -> None:
    settings = Settings.read(
        {"ORDERMESH_HOME": "/srv/x", "GATEWAY_PORT": "9000", "ORDERS_DATABASE_URL": "postgresql://o"}
    )
    assert settings.ordermesh_home == Path("/srv/x")
    assert settings.gateway_port == 9000
    assert settings.database_url("orders") == "postgresql://o"


def test_the_command_line_wins_over_the_environment() -> None:
    assert Settings.read({"GATEWAY_PORT": "9000"}, gateway_port=9001).gateway_port == 9001
    assert Settings.read({"GATEWAY_PORT": "9000"}, gateway_port=None).gateway_port == 9000


def test_a_blank_variable_counts_as_absent() -> None:
    settings = Settings.read({"KAFKA_URL": "", "STRIPE_API_KEY": " "})
    assert settings.kafka_url is None
    assert "STRIPE_API_KEY" not in settings.environment


@pytest.mark.parametrize("name", ["GATEWAY_PORT", "KAFKA_IDEMPOTENCE", "AUTH_ISSUERS"])
def test_nonsense_is_refused_by_name_and_not_repeated(name: str) -> None:
    with pytest.raises(LauncherError, match=f"^{name} makes no sense") as refused:
        Settings.read({name: "s3cret nonsense"})
    assert "s3cret" not in str(refused.value)


def test_no_secret_is_shown() -> None:
    shown = repr(
        Settings.read({"STRIPE_API_KEY": "sk_live_1", "ORDERS_DATABASE_URL": "postgresql://o:pass@h/o"})
    )
    assert "sk_live_1" not in shown
    assert "pass" not in shown
