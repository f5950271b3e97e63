"""Each service installs and imports from an environment of its own: what it uses, it declares."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
PACKAGES = {
    **{
        name: ROOT / "services" / name
        for name in ("orders", "payments", "shipping", "notifications", "gateway")
    },
    "sandbox": ROOT / "deploy" / "sandbox",
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
def test_a_package_stands_alone(name: str, tmp_path: Path) -> None:
    python = tmp_path / "env" / "bin" / "python"
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "env")
    run(
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        python,
        "--constraints",
        ROOT / "requirements.lock",
        PACKAGES[name],
    )
    run(python, "-W", "error", "-c", IMPORT.format(name=name))
    installed = run(UV, "pip", "list", "--python", python)
    others = {f"ordermesh-{other}" for other in PACKAGES if other != name}
    assert not others & set(installed.split())


def run(*command: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, cwd="/", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
