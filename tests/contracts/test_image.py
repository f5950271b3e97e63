"""The image's steps, done without Docker in a clean folder: a service installs, runs and stands alone, on what it declares."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ordermesh.infrastructure import Infrastructure
from ordermesh.postgres import SERVICES

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", "")
PACKAGES = {
    **{name: f"services/{name}" for name in ("orders", "payments", "shipping", "notifications", "gateway")},
    "sandbox": "deploy/sandbox",
}
IMPORT = """
import importlib, pathlib, {name}
root = pathlib.Path({name}.__file__).parent
for path in sorted(root.rglob("*.py")):
    parts = path.relative_to(root).with_suffix("").parts
    if "migrations" not in parts and parts[-1] not in ("__main__", "__init__"):
        importlib.import_module(".".join(({name!r}, *parts)))
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PACKAGES)
async def test_a_package_stands_alone(name: str, tmp_path: Path, infrastructure: Infrastructure) -> None:
    for verb, words in build_steps(SERVICE=name, PACKAGE=PACKAGES[name]):
        if verb == "COPY":
            copy(*words, tmp_path / "source")
        else:
            own = [word.replace("/app", str(tmp_path / "app")) for word in words]
            run(Path(sys.executable).with_name(own[0]), *own[1:], cwd=tmp_path / "source")
    # The image takes only the environment along.
    shutil.rmtree(tmp_path / "source")
    python = tmp_path / "app" / "bin" / "python"
    run(python, "-W", "error", "-c", IMPORT.format(name=name))
    if name in SERVICES:
        [database] = (await infrastructure.fresh_databases([name])).values()
        needed = {
            "DATABASE_URL": database,
            "KAFKA_URL": infrastructure.kafka_url,
            "STRIPE_API_KEY": "sk_test",
        }
        run(python, "-m", name, "migrate", cwd=tmp_path, **needed)
    installed = run(Path(sys.executable).with_name("uv"), "pip", "list", "--python", python)
    others = {f"ordermesh-{other}" for other in PACKAGES if other != name}
    assert not others & set(installed.split())
    assert "pytest" not in installed.split()
    locked = (ROOT / "requirements.lock").read_text()
    pins = dict(re.findall(r"^([a-z0-9._-]+)(?:\[.*\])?==([^ ;]+)", locked, re.MULTILINE))
    for package, version in re.findall(r"^([a-z0-9._-]+) +(\d\S*)", installed, re.MULTILINE):
        assert package.startswith("ordermesh-") or pins[package] == version


def test_what_is_not_what_was_locked_is_refused(tmp_path: Path) -> None:
    """The hashes in the lock are checked although they stand in a file of constraints."""
    for verb, words in build_steps(SERVICE="sandbox", PACKAGE="deploy/sandbox"):
        if verb == "COPY":
            copy(*words, tmp_path / "source")
    lock = tmp_path / "source" / "requirements.lock"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", lock.read_text()))
    *_, (_, install) = build_steps(SERVICE="sandbox", PACKAGE="deploy/sandbox")
    uv = Path(sys.executable).with_name("uv")
    run(uv, "venv", "--quiet", tmp_path / "app")
    own = [word.replace("/app", str(tmp_path / "app")) for word in install]
    refused = subprocess.run(
        [uv, *own[1:]], capture_output=True, text=True, cwd=tmp_path / "source", check=False
    )
    assert refused.returncode != 0
    assert "ash mismatch" in refused.stderr


def test_the_image_is_not_root_and_takes_nothing_along_from_the_build_but_the_environment() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^COPY (.+)$", final, re.MULTILINE) == ["--from=build /app /app"]
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)


def build_steps(**arguments: str) -> Iterator[tuple[str, list[str]]]:
    """COPY and RUN of the first stage with the arguments put in, but for the installation of uv itself."""
    stage = DOCKERFILE.split("\nFROM ")[1]
    for verb, rest in re.findall(r"^(COPY|RUN) (.+)$", stage, re.MULTILINE):
        words = shlex.split(re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], rest))
        if words[0] != "pip":
            yield verb, words


def copy(*words: str | Path) -> None:
    """As COPY does: files into a folder, the contents of a folder to a folder."""
    *sources, target, base = words
    for source in sources:
        if (ROOT / source).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / source, Path(base) / target, ignore=ignored, dirs_exist_ok=True)
        else:
            place = Path(base) / target
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, place)


def run(*command: object, cwd: Path = Path("/"), **variables: str) -> str:
    """`python` of the path is this one: the image's is 3.11."""
    environment = {**os.environ, "UV_PYTHON": sys.executable, **variables}
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, cwd=cwd, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
