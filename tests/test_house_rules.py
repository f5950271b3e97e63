"""What ruff, mypy and import-linter cannot say about the house. Each rule names the harm it keeps away."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.split("\n")
FILES = [ROOT / name for name in TRACKED if name and (ROOT / name).is_file()]
SOURCES = [path for path in FILES if path.suffix == ".py" and "src" in path.parts]
MIGRATIONS = "migrations"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def module(path: Path) -> str:
    """`services/orders/src/orders/domain.py` -> `orders.domain`."""
    parts = path.with_suffix("").parts
    return ".".join(parts[parts.index("src") + 1 :])


def test_a_file_stays_under_400_lines() -> None:
    assert [name_of(path) for path in SOURCES if len(path.read_text().splitlines()) > 400] == []


def test_a_function_stays_under_40_lines() -> None:
    long = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in SOURCES
        if MIGRATIONS not in path.parts
        for node in functions(path)
        if (node.end_lineno or 0) - node.lineno + 1 > 40
    ]
    assert long == []


def test_every_module_says_what_it_is_for() -> None:
    assert [name_of(path) for path in SOURCES if not ast.get_docstring(tree(path))] == []


def test_a_handler_is_eight_lines_at_most() -> None:
    """Load, decide, save, say: a longer one decides by itself what belongs into the domain."""
    fat = [
        f"{name_of(path)} {node.name}"
        for path in SOURCES
        if path.name in {"handlers.py", "deadlines.py"}
        for node in functions(path)
        if node.name.startswith("on_") and (node.end_lineno or 0) - node.body[0].lineno + 1 > 8
    ]
    assert fat == []


BANNED: dict[str, tuple[str, Callable[[str], bool]]] = {
    "a commit or a broker outside the plumbing": (
        r"\.commit\(|\.publish\(",
        lambda m: not m.startswith("shared"),
    ),
    "a clock or a random id in a domain": (
        r"datetime\.now|utcnow|uuid4|uuid7|time\.time|random\.",
        lambda m: m.split(".")[-1] in {"domain", "status", "reactions"},
    ),
    "SQLAlchemy outside tables, store and the plumbing": (
        r"^(from|import) sqlalchemy",
        lambda m: (
            not m.startswith("shared.")
            and m.split(".")[-1] not in {"tables", "store"}
            and MIGRATIONS not in m
        ),
    ),
    "anything but pydantic and the standard library in contracts": (
        r"^(from|import) (?!pydantic|shared\.contracts|typing|collections|datetime|uuid|enum|dataclasses|decimal)",
        lambda m: m.startswith("shared.contracts"),
    ),
    "Any in contracts": (r"\bAny\b", lambda m: m.startswith("shared.contracts")),
    "a vague name": (
        r"^class \w*(Manager|Helper|Util|Utils|DTO|Impl)\b",
        lambda m: True,
    ),
}


@pytest.mark.parametrize("what", BANNED)
def test_there_is_no(what: str) -> None:
    pattern, applies = BANNED[what]
    found = [
        f"{name_of(path)}:{number}"
        for path in SOURCES
        if applies(module(path))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert found == []


def test_no_module_is_named_for_nothing() -> None:
    assert [
        name_of(p) for p in SOURCES if p.stem in {"utils", "util", "common", "helpers", "misc", "base"}
    ] == []


def test_no_bare_except() -> None:
    bare = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert bare == []


def test_no_committed_file_names_a_package_registry() -> None:
    """A lock file of uv or pylock would; a mirror's address in the history can never be taken back."""
    forbidden = re.compile(r'registry = "http|index-url|https?://[^\s"\']+/simple\b')
    named = [
        name_of(path)
        for path in FILES
        if path.name in {"uv.lock", "pylock.toml"}
        or (path != Path(__file__) and forbidden.search(path.read_text(errors="replace")))
    ]
    assert named == []


def test_requirements_are_pinned_with_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    pins = re.findall(r"^([a-z0-9._-]+(?:\[[a-z,]+\])?)==", lock, re.MULTILINE)
    assert len(pins) > 50
    assert lock.count("--hash=sha256:") >= len(pins)
    assert "://" not in lock


def test_tests_do_not_sleep_to_decide_or_patch_what_they_test() -> None:
    patched = [
        name_of(path)
        for path in FILES
        if path.suffix == ".py" and "tests" in path.parts and path != Path(__file__)
        if re.search(r"mock\.patch|MagicMock|AsyncMock", path.read_text())
    ]
    assert patched == []


IMPORTED_AS = packages_distributions()
PACKAGES = sorted(path.parent for path in FILES if path.name == "pyproject.toml" and path.parent != ROOT)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_declares_what_it_imports(package: Path) -> None:
    """What comes along with another package goes away with it, too."""
    declared = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[<>=;~ ]", line)[0].lower().replace("_", "-") for line in declared["dependencies"]}
    own = declared["name"]
    used = {
        name
        for path in SOURCES
        if path.is_relative_to(package)
        for module_ in imports(path)
        for name in {dist.lower().replace("_", "-") for dist in IMPORTED_AS.get(module_, [])}
    }
    assert used - names - {own} == set()


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found
