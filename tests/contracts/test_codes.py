"""The closed list of error codes that clients are told of is the one that there is."""

import re
from pathlib import Path

from gateway.federation import Code as GatewayCode
from shared.errors import Code


def test_the_documented_codes_are_those_that_an_answer_may_have() -> None:
    document = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text()
    table = document.partition("## What is refused, and how")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
    documented = [code for row in rows for code in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == sorted({*map(str, Code), *map(str, GatewayCode)})
