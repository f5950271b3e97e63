"""What people type."""

import json
import shlex
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from ordermesh.cli import main
from ordermesh.state import RunDirectory

Launch = Callable[..., Awaitable[Process]]


async def ordermesh(launch: Launch, *arguments: str, **variables: str) -> tuple[int | None, str, str]:
    process = await launch("-m", "ordermesh.cli", *arguments, **variables)
    out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


def exported(out: str) -> dict[str, str]:
    words = (shlex.split(line) for line in out.splitlines() if not line.startswith("#"))
    return dict(variable.split("=", 1) for export, variable in words if export == "export")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"avalable": False}, "0.avalable: Extra inputs"), ({"sku_id": "MUG"}, "MUG is listed 2 times")],
)
async def test_a_catalogue_file_that_cannot_be_meant_is_refused_whole(
    launch: Launch, tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    usual = {"product_id": "P", "name": "Tea", "price": 1, "shipping_price": 0, "currency": "USD"}
    skus = [
        {**usual, "weight_grams": 1, "sku_id": "TEA", **change},
        {**usual, "weight_grams": 1, "sku_id": "MUG"},
    ]
    file = tmp_path / "skus.json"
    file.write_text(json.dumps(skus))
    code, out, errors = await ordermesh(launch, "catalog", str(file))
    assert (code, out) == (1, "")
    assert complaint in errors


async def test_infrastructure_goes_up_once_and_down_without_a_trace(
    launch: Launch, directory: RunDirectory, processes: Callable[[], list[str]]
) -> None:
    code, first, errors = await ordermesh(launch, "infra", "up")
    assert (code, errors) == (0, "")
    running = directory.all_running()
    assert set(running) == {"kafka", "postgres"}

    code, second, _ = await ordermesh(launch, "infra", "up")
    assert (code, second) == (0, first)
    assert directory.all_running() == running

    variables = exported(first)
    connection = await asyncpg.connect(variables["ORDERS_DATABASE_URL"], ssl=False)
    assert await connection.fetchval("SELECT current_user") == "orders"
    await connection.close()
    assert variables["KAFKA_IDEMPOTENCE"] == "false"

    code, shown, _ = await ordermesh(launch, "infra", "status")
    assert code == 0
    for name, part in running.items():
        assert name in shown
        assert str(part.port) in shown

    # The exported variables name the same infrastructure: nothing else is started for them.
    code, third, _ = await ordermesh(launch, "infra", "up", **variables)
    assert (code, exported(third)) == (0, variables)
    assert directory.all_running() == running

    code, down, _ = await ordermesh(launch, "infra", "down")
    assert (code, len(down.splitlines())) == (0, 2)
    assert processes() == []
    assert list((directory.path / "pids").iterdir()) == []
    assert await ordermesh(launch, "infra", "down") == (0, "Nothing runs.\n", "")
    code, shown, _ = await ordermesh(launch, "status")
    assert (code, shown) == (3, f"Nothing runs in {directory.path}.\n")


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "up",
        "infra",
        "infra up",
        "infra down",
        "infra status",
        "token",
        "schema",
        "demo",
        "status",
        "dlq redrive",
        "outbox lag",
        "orders stuck",
    ],
)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments.split(), "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {' '.join(['ordermesh', *arguments.split()])}")


async def test_a_token_needs_a_running_stack(launch: Launch, directory: RunDirectory) -> None:
    code, out, errors = await ordermesh(launch, "token", "--role", "staff")
    assert (code, out) == (1, "")
    assert errors == f"ordermesh: No stack runs in {directory.path}: start one with `ordermesh up`.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["staff", "--scope", "bogus"], "bogus is no scope: there are support, fulfilment, finance."),
        (
            ["staff", "--scope", "support finence"],
            "finence is no scope: there are support, fulfilment, finance.",
        ),
        (["staff", "--scope", ""], "A blank --scope is none: there are support, fulfilment, finance."),
        (
            ["shopper", "--scope", "support"],
            "Scopes are what staff may change: a shopper has none, leave out --scope.",
        ),
        (
            ["partner", "--scope", "support"],
            "Scopes are what staff may change: a partner has none, leave out --scope.",
        ),
        (["shopper", "--subject", " "], "A blank --subject is nobody: leave it out for the role's own."),
    ],
)
def test_a_token_that_would_be_another_than_it_seems_is_refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    directory: RunDirectory,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.setenv("ORDERMESH_HOME", str(directory.path))
    assert main(["token", "--role", *arguments]) == 1
    assert capsys.readouterr() == ("", f"ordermesh: {said}\n")


async def test_a_command_loads_nothing_that_checks_tokens_before_it_needs_it(launch: Launch) -> None:
    process = await launch("-c", "import sys, ordermesh.cli; sys.exit('shared.auth' in sys.modules)")
    assert await process.wait() == 0


async def test_nonsense_in_the_environment_is_a_sentence_and_not_a_traceback(launch: Launch) -> None:
    code, _, errors = await ordermesh(launch, "up", GATEWAY_PORT="eighty")
    assert code == 1
    assert errors.startswith("ordermesh: GATEWAY_PORT makes no sense")
    assert len(errors.splitlines()) == 1


async def test_operators_verbs_ask_every_service_of_the_running_stack(
    launch: Launch, fresh_databases: Callable[..., Awaitable[dict[str, str]]]
) -> None:
    services = ("orders", "payments", "shipping", "notifications")
    urls = await fresh_databases(*services)
    variables = {f"{name.upper()}_DATABASE_URL": url for name, url in urls.items()}
    code, out, _ = await ordermesh(launch, "outbox", "lag", **variables)
    assert (code, out) == (0, "".join(f"{name}:\n0 to send\n" for name in services))
    assert await ordermesh(launch, "outbox", "lag", "--service", "orders", **variables) == (
        0,
        "0 to send\n",
        "",
    )
    for words, answer in (("dlq list", "0 dead letters"), ("orders stuck", "nothing is stuck")):
        told = "".join(f"{name}:\n{answer}\n" for name in services)
        assert await ordermesh(launch, *words.split(), **variables) == (0, told, "")
    code, _, errors = await ordermesh(launch, "dlq", "show", "1", **variables)
    assert (code, errors) == (1, "ordermesh: A letter's id counts within its service: say --service.\n")
    code, _, errors = await ordermesh(launch, "dlq", "show", "1", "--service", "payments", **variables)
    assert (code, errors) == (1, "ordermesh: payments has no dead letter 1.\n")


async def test_operators_verbs_need_a_running_database(launch: Launch) -> None:
    code, _, errors = await ordermesh(launch, "dlq", "list")
    assert code == 1
    assert errors.startswith("ordermesh: No database runs here")
