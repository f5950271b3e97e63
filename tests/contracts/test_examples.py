"""Facts are append-only promises: every example ever committed parses with today's code, and none is ever changed."""

import json
import subprocess
from pathlib import Path

import pytest

from shared.contracts import FACTS
from shared.contracts.topics import TOPICS

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "shared" / "examples"
FILES = sorted(EXAMPLES.glob("*/v*/*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_an_example_parses_and_keeps_every_field_it_has(path: Path) -> None:
    fact_type, version = path.parts[-3], int(path.parts[-2].removeprefix("v"))
    example = json.loads(path.read_text())
    fact = FACTS[fact_type, version].model_validate_json(path.read_text())
    said = json.loads(fact.model_dump_json())
    assert {name: said[name] for name in example} == example


def test_every_fact_has_an_example_and_every_example_is_of_a_fact() -> None:
    of_facts = {(path.parts[-3], int(path.parts[-2].removeprefix("v"))) for path in FILES}
    assert of_facts == set(FACTS)


def test_every_fact_is_on_exactly_one_topic() -> None:
    carried = [fact for topic in TOPICS for fact in topic.facts]
    assert len(carried) == len(set(carried))
    assert {(fact.type, fact.version) for fact in carried} == {
        (fact_type, version) for fact_type, version in FACTS if (fact_type, version + 1) not in FACTS
    }


def test_no_committed_example_was_ever_changed_or_removed() -> None:
    """In the history that this checkout has: an example is added once and stays as it is."""
    log = subprocess.run(
        ["git", "log", "--diff-filter=MDR", "--name-only", "--format=", "--", "shared/examples"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert log.stdout.split() == []
