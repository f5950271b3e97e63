"""The run directory: nothing shared with another one, nothing left in the way of the next run."""

import os
import socket
from pathlib import Path

import pytest

from ordermesh.errors import LauncherError
from ordermesh.process import Identity
from ordermesh.state import LAUNCHER, RunDirectory, Running
from shared.signing import Signer

NOBODY_ANY_MORE = Identity(os.getpid(), "another start")


def listening(port: int = 0) -> socket.socket:
    server = socket.socket()
    server.bind(("127.0.0.1", port))
    server.listen()
    return server


class TestPorts:
    def test_a_port_is_kept_while_it_is_free(self, directory: RunDirectory) -> None:
        first = directory.port("orders")
        assert RunDirectory(directory.path).port("orders") == first
        with listening(first):
            other = directory.port("orders")
        assert other != first
        assert directory.port("orders") == other

    def test_a_default_that_is_taken_gives_way(self, directory: RunDirectory) -> None:
        with listening() as taken:
            default = taken.getsockname()[1]
            assert directory.port("orders", default=default) != default
        assert directory.port("orders", default=default) == default

    def test_a_port_that_was_asked_for_is_given_or_refused(self, directory: RunDirectory) -> None:
        with listening() as taken:
            asked = taken.getsockname()[1]
            with pytest.raises(LauncherError, match=f"Port {asked}, asked for gateway, is taken"):
                directory.port("gateway", default=1, asked=asked)
        assert directory.port("gateway", asked=asked) == asked

    def test_two_programs_never_get_one_port(self, directory: RunDirectory) -> None:
        default = directory.port("orders")
        assert directory.port("payments", default=default) != default

    def test_what_is_asked_for_wins_over_what_another_had_before(self, directory: RunDirectory) -> None:
        wanted = directory.port("orders")
        assert directory.port("gateway", asked=wanted) == wanted
        assert directory.port("orders") != wanted

    def test_a_port_that_one_launcher_chose_is_no_other_ones_until_it_ends(
        self, directory: RunDirectory, tmp_path: Path
    ) -> None:
        default, other = directory.port("orders"), RunDirectory(tmp_path / "other").prepare()
        with directory.launcher(), other.launcher():
            assert directory.port("orders", default=default) == default
            assert other.port("orders", default=default) != default
            with pytest.raises(LauncherError, match=f"Port {default}, asked for gateway, is taken"):
                other.port("gateway", asked=default)
            # It is its own to ask for again.
            assert directory.port("orders", default=default) == default
        assert other.port("orders", default=default) == default

    async def test_what_starts_infrastructure_claims_its_ports_too(
        self, directory: RunDirectory, tmp_path: Path
    ) -> None:
        other = RunDirectory(tmp_path / "other").prepare()
        async with directory.infrastructure(), other.infrastructure():
            chosen = directory.port("kafka")
            assert other.port("kafka", default=chosen) != chosen


class TestSecrets:
    def test_a_secret_is_made_once_and_read_by_its_owner_alone(self, directory: RunDirectory) -> None:
        secret = directory.secret("webhook")
        assert len(secret) >= 32
        assert RunDirectory(directory.path).secret("webhook") == secret
        assert (directory.path / "secrets" / "webhook").stat().st_mode & 0o777 == 0o600
        assert (directory.path / "secrets").stat().st_mode & 0o777 == 0o700

    def test_a_signing_key_is_one_that_a_signer_takes_and_stays_the_same(
        self, directory: RunDirectory
    ) -> None:
        pem = directory.signing_key("shipping-key")
        Signer("shipping", pem)
        assert RunDirectory(directory.path).signing_key("shipping-key") == pem

    def test_no_two_secrets_are_equal(self, directory: RunDirectory, tmp_path: Path) -> None:
        other = RunDirectory(tmp_path / "other").prepare()
        assert len({directory.secret("a"), directory.secret("b"), other.secret("a")}) == 3


class TestLauncher:
    def test_a_second_launcher_is_refused_with_the_pid_of_the_first(self, directory: RunDirectory) -> None:
        with (
            directory.launcher(),
            pytest.raises(LauncherError, match=f"already runs in .* \\(pid {os.getpid()}\\)"),
            RunDirectory(directory.path).launcher(),
        ):
            pass

    def test_a_launcher_leaves_neither_lock_nor_record(self, directory: RunDirectory) -> None:
        with directory.launcher():
            assert directory.running(LAUNCHER) is not None
        assert list((directory.path / "pids").iterdir()) == []
        with directory.launcher():
            pass

    def test_another_directory_is_another_stack(self, directory: RunDirectory, tmp_path: Path) -> None:
        with directory.launcher(), RunDirectory(tmp_path / "other").prepare().launcher():
            pass

    def test_a_place_that_cannot_be_written_is_said_to_be_so(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(LauncherError, match=r"cannot be made.*ORDERMESH_HOME"):
            RunDirectory(tmp_path / "file" / "run").prepare()


class TestRecords:
    def test_what_runs_is_found_again(self, directory: RunDirectory) -> None:
        running = Running(Identity.current(), 1234, Identity.current())
        directory.record("orders", running)
        assert directory.running("orders") == running
        assert directory.all_running() == {"orders": running}

    def test_a_recycled_pid_is_not_taken_for_ours(self, directory: RunDirectory) -> None:
        directory.record("orders", Running(NOBODY_ANY_MORE, 1234))
        assert directory.running("orders") is None

    @pytest.mark.parametrize("text", ["", "{}", "[]", '{"identity": 1}', "\x00"])
    def test_a_broken_record_counts_as_none(self, directory: RunDirectory, text: str) -> None:
        (directory.path / "pids" / "orders.json").write_text(text)
        assert directory.running("orders") is None

    def test_only_what_outlived_its_keeper_is_an_orphan(self) -> None:
        here = Identity.current()
        assert Running(here, 1, NOBODY_ANY_MORE).is_orphan()
        assert not Running(here, 1, here).is_orphan()
        assert not Running(here, 1, None).is_orphan()


def test_the_log_of_the_run_before_is_kept(directory: RunDirectory) -> None:
    directory.new_log("orders").write_text("first")
    assert directory.new_log("orders").read_text() == ""
    assert (directory.path / "logs" / "orders.log.before").read_text() == "first"
