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


SERVICES = {"orders", "payments", "shipping", "notifications"}
DECISIONS = {
    *("orders.domain", "orders.decisions", "orders.status", "orders.reactions"),
    *(
        "orders.checkout.place",
        "orders.life.commands",
        "orders.life.edits",
        "orders.life.bulk",
        "orders.lines",
    ),
    *(
        "orders.life.addresses",
        "orders.life.refunds",
        "orders.life.holds",
        "orders.life.items",
        "orders.life.parcels",
        "orders.life.explanation",
    ),
    *(
        "orders.checkout.basket",
        "orders.checkout.discounts",
        "orders.checkout.pricing",
        "orders.checkout.taxes",
    ),
    *("payments.domain", "payments.refunds"),
    *("shipping.changes", "shipping.domain", "shipping.labels", "shipping.tracking", "shipping.events"),
    *("notifications.domain", "notifications.messages", "notifications.rendering", "notifications.mime"),
}
HANDLERS = {*(f"{service}.handlers" for service in SERVICES), "orders.deadlines"}
"""Handlers take the time and new ids from their transaction, decisions get them as arguments."""

BANNED: dict[str, tuple[str, Callable[[str], bool]]] = {
    "a commit or a broker outside the plumbing": (
        r"\.commit\(|\.publish\(",
        lambda m: not m.startswith("shared"),
    ),
    "a clock or a random id in a decision or a handler": (
        r"\.(now|today)\(|utcnow|\buuid[147]\b|\b(import|from) (time|random|secrets)\b|\b(time|random|secrets)\.\w",
        lambda m: m in DECISIONS | HANDLERS,
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
        r"^(from|import) (?!pydantic|shared\.contracts|typing|collections|datetime|uuid|enum|dataclasses|decimal|hashlib|json)",
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


def test_every_module_that_decides_or_handles_is_under_the_clock_ban() -> None:
    """A renamed module would slip out of the rule; a new one of the usual names must not be forgotten."""
    usual = {name.split(".")[-1] for name in DECISIONS | HANDLERS}
    there = [module(path).split(".") for path in SOURCES]
    alike = {".".join(name) for name in there if name[0] in SERVICES and name[-1] in usual}
    assert alike == DECISIONS | HANDLERS


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
    forbidden = re.compile(r'registry = "htt[p]|index[-]url|https?://[^\s"\']+/simple\b')
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


TESTS = [path for path in FILES if path.suffix == ".py" and path.is_relative_to(ROOT / "tests")]


def test_tests_use_no_mocks() -> None:
    mocking = [
        name_of(path)
        for path in TESTS
        if path != Path(__file__) and re.search(r"\bmock\.|MagicMock|AsyncMock|unittest", path.read_text())
    ]
    assert mocking == []


SLEEPS = {
    "tests/bench/test_purchase_cost.py test_cost_of_a_placed_and_paid_order": "a benchmark settles before it measures",
    "tests/bench/test_plumbing.py ship": "a benchmark's pace; what is waited for afterwards is that all has arrived",
    "tests/gateway/test_transport.py answer": "when an answer comes: at any moment, for a cancellation to fall into it",
    "tests/lib/chaos/nemesis.py _last": "how long a fault lasts; nothing is expected of it",
    "tests/shared/test_jobs.py make": "sleep(0) takes no time: it lets the other workers have their turn",
}
"""Where a test sleeps outside a polling loop, and why that decides nothing."""


def test_tests_sleep_only_while_they_wait_for_a_condition() -> None:
    """A sleep that decides an outcome is too short on a slow day and too long on every other."""
    assert {f"{name_of(path)} {where}" for path in TESTS for where in loose_sleeps(tree(path))} == set(SLEEPS)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def f():\n while True: time.sleep(1)", ["f"]),
        ("from time import sleep", ["from time import sleep"]),
        ("from asyncio import sleep as nap", ["from asyncio import sleep"]),
        ("async def f(): await asyncio.sleep(1)", ["f"]),
        ("async def f():\n for _ in x: await asyncio.sleep(1)", ["f"]),
        ("async def f():\n while x:\n  async def g(): await asyncio.sleep(1)", ["g"]),
        ("async def f():\n while x:\n  if y: await asyncio.sleep(1)", []),
        ("async def f():\n async for _ in x: await asyncio.sleep(1)", []),
    ],
)
def test_a_loose_sleep_is_seen(code: str, found: list[str]) -> None:
    assert list(loose_sleeps(ast.parse(code))) == found


def loose_sleeps(node: ast.AST, function: str = "", *, polling: bool = False) -> Iterator[str]:
    """The functions that call `time.sleep`, or `asyncio.sleep` outside `while` and `async for`; and imports that hide either."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            function, polling = name, False
        case ast.While() | ast.AsyncFor():
            polling = True
        case ast.ImportFrom(module="time" | "asyncio" as source, names=names):
            yield from (f"from {source} import sleep" for alias in names if alias.name == "sleep")
        case ast.Attribute(value=ast.Name(id="time"), attr="sleep"):
            yield function
        case ast.Attribute(value=ast.Name(id="asyncio"), attr="sleep") if not polling:
            yield function
        case _:
            pass
    for child in ast.iter_child_nodes(node):
        yield from loose_sleeps(child, function, polling=polling)


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
