"""docker-compose.yml and .env.example against what they speak of: the format, the settings, the entry points."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from ordermesh.postgres import SERVICES
from orders.lists import export

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PARTS: dict[str, dict[str, Any]] = COMPOSE["services"]
PROCESSES = (*SERVICES, "gateway", "sandbox")
OTHERS = {"postgres", "kafka", "topics"}
LINE = re.compile(r"^(# )?([A-Z][A-Z0-9_]+)=(.*)$", re.MULTILINE)
EXAMPLE = (ROOT / ".env.example").read_text()
ACTIVE = {name: value for commented, name, value in LINE.findall(EXAMPLE) if not commented}
PER_PROCESS = re.search(r"-- Set by docker-compose.*?\n# --", EXAMPLE, re.DOTALL)
SET_BY_COMPOSE = {name for _, name, _ in LINE.findall(PER_PROCESS[0])} if PER_PROCESS else set()


def settings_of(name: str) -> type[BaseSettings]:
    found: type[BaseSettings] = importlib.import_module(f"{name}.settings").Settings
    return found


def variables_of(name: str) -> set[str]:
    """A crash point is for fault tests: no deployment is to have one."""
    return {field.upper() for field in settings_of(name).model_fields} - {"ORDERMESH_CRASH_AT"}


def interpolated(text: str) -> str:
    """As Compose does it, with .env.example as .env."""
    return re.sub(
        r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda found: str(ACTIVE.get(found[1], found[2] or "")), text
    )


def environment_of(part: str) -> dict[str, str]:
    """What the process sees: a name without a value is passed on if .env has it."""
    given: dict[str, Any] = PARTS[part].get("environment", {})
    values = {
        name: ACTIVE.get(name) if value is None else interpolated(str(value)) for name, value in given.items()
    }
    return {name: value for name, value in values.items() if value is not None}


def validate(file: Path) -> "subprocess.CompletedProcess[str]":
    command = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_a_compose_file(tmp_path: Path) -> None:
    assert validate(ROOT / "docker-compose.yml").returncode == 0
    broken = tmp_path / "docker-compose.yml"
    broken.write_text((ROOT / "docker-compose.yml").read_text().replace("healthcheck:", "healthchek:"))
    assert validate(broken).returncode == 1


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_is_given_all_of_its_settings_and_no_other(name: str) -> None:
    assert set(PARTS[name]["environment"]) == variables_of(name)


@pytest.mark.parametrize("name", PROCESSES)
def test_its_environment_is_one_that_it_accepts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        monkeypatch.delenv(variable)
    for variable, value in environment_of(name).items():
        monkeypatch.setenv(variable, value)
    settings = settings_of(name)()
    assert getattr(settings, "host") == "0.0.0.0"  # noqa: B009 - its class is not known here


@pytest.mark.parametrize("name", SERVICES)
def test_a_migration_has_the_service_s_own_environment(name: str) -> None:
    assert PARTS[f"{name}-migrate"]["environment"] == PARTS[name]["environment"]
    assert PARTS[f"{name}-migrate"]["image"] == PARTS[name]["image"]


def test_the_example_names_every_setting_once_and_nothing_else() -> None:
    named = [name for _, name, _ in LINE.findall(EXAMPLE)]
    asked = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert sorted(named) == sorted(set(named))
    assert set(named) == asked | {name for process in PROCESSES for name in variables_of(process)}


@pytest.mark.parametrize("name", PROCESSES)
def test_what_the_example_shows_as_a_default_is_the_default(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {n: v for commented, n, v in LINE.findall(EXAMPLE) if commented and n not in SET_BY_COMPOSE}
    for variable in os.environ:
        monkeypatch.delenv(variable)
    for variable, value in environment_of(name).items():
        monkeypatch.setenv(variable, value)
    bare = settings_of(name)()
    for variable, value in shown.items():
        monkeypatch.setenv(variable, value)
    assert settings_of(name)() == bare


@pytest.mark.parametrize(
    "name", sorted(name for name, part in PARTS.items() if part.get("command", [""])[0] == "python")
)
def test_a_command_is_an_entry_point_that_there_is(name: str) -> None:
    """Help is what every parser knows; a command that there is not ends with an error before it."""
    command = [sys.executable, *PARTS[name]["command"][1:], "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stderr) == (0, "")
    assert "unknown" not in done.stdout


def test_only_the_loopback_interface_is_published() -> None:
    published = [port for part in PARTS.values() for port in part.get("ports", [])]
    assert len(published) >= 7
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_everything_starts_after_what_it_needs() -> None:
    done, healthy = {"condition": "service_completed_successfully"}, {"condition": "service_healthy"}
    for name in SERVICES:
        assert PARTS[f"{name}-migrate"]["depends_on"] == {"postgres": healthy}
        needed = PARTS[name]["depends_on"]
        assert (needed[f"{name}-migrate"], needed["topics"]) == (done, done)
        assert PARTS["gateway"]["depends_on"][name] == healthy
    assert PARTS["topics"]["depends_on"] == {"kafka": healthy}
    assert {name for name, part in PARTS.items() if "healthcheck" in part} == {
        *PROCESSES,
        "postgres",
        "kafka",
    }
    assert set(PARTS) == {*PROCESSES, *OTHERS, *(f"{name}-migrate" for name in SERVICES)}


def test_a_health_check_asks_at_the_port_that_the_process_listens_at() -> None:
    for name in PROCESSES:
        port = PARTS[name]["environment"]["PORT"]
        assert f"127.0.0.1:{port}/health/ready" in PARTS[name]["healthcheck"]["test"][-1]


def test_addresses_within_name_parts_and_their_ports() -> None:
    """`http://payments:8002` is to be the service of that name at the port that it listens at."""
    found = re.findall(
        r"//(?:[^@/\s]*@)?([a-z]+):(\d+)", json.dumps([environment_of(name) for name in PROCESSES])
    )
    ports = {name: {str(PARTS[name]["environment"]["PORT"])} for name in PROCESSES} | {"postgres": {"5432"}}
    ports["sandbox"].add(str(PARTS["sandbox"]["environment"]["SMTP_PORT"]))
    assert len(found) > 10
    assert [(host, port) for host, port in found if port not in ports.get(host, set())] == []


def test_what_the_gateway_passes_through_is_a_path_that_its_service_serves() -> None:
    given = json.loads(environment_of("gateway")["PASSTHROUGH"])
    assert given == {export.PATH: f"http://orders:8001{export.PATH}"}


def test_each_image_is_built_from_the_one_dockerfile() -> None:
    for name in {*PARTS} - {"postgres", "kafka"}:
        build = PARTS[name]["build"]
        service = PARTS[name]["image"].removeprefix("ordermesh/")
        assert (build["context"], build["dockerfile"]) == (".", "deploy/Dockerfile")
        assert build["args"]["SERVICE"] == service
        assert (ROOT / build["args"].get("PACKAGE", f"services/{service}") / "pyproject.toml").exists()
