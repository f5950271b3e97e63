"""The table of `make teeth` fits the code: each protection is where it says, and the tests that are to notice are there."""

import ast

import pytest

from teeth.table import ROOT, TEETH, StaleTooth, Tooth


def test_no_two_teeth_have_one_name() -> None:
    assert len({tooth.name for tooth in TEETH}) == len(TEETH)


@pytest.mark.parametrize("tooth", TEETH, ids=lambda tooth: tooth.name)
def test_a_tooth_changes_one_place_of_its_file_into_python(tooth: Tooth) -> None:
    source = (ROOT / tooth.file).read_text()
    bare = tooth.bare(source)
    assert bare != source
    ast.parse(bare)


@pytest.mark.parametrize("tooth", TEETH, ids=lambda tooth: tooth.name)
def test_the_tests_that_are_to_notice_exist(tooth: Tooth) -> None:
    assert tooth.tests
    assert [test for test in tooth.tests if not exists(test)] == []


@pytest.mark.parametrize("source", ["nothing of it", "the lock, and the lock again"])
def test_a_tooth_that_the_code_has_left_behind_says_so(source: str) -> None:
    tooth = Tooth("lock", "", "a.py", "the lock", "no lock", ())
    with pytest.raises(StaleTooth, match=r"lock: its text occurs [02] times in a\.py"):
        tooth.bare(source)


def exists(test: str) -> bool:
    """Whether a node id, `file::function` or `file::Class::function`, names a test."""
    file, *path = test.split("::")
    body = ast.parse((ROOT / file).read_text()).body
    for name in path:
        named = [
            node
            for node in body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
        ]
        if not named:
            return False
        body = named[0].body
    return True


def test_a_test_that_is_not_there_is_missed() -> None:
    assert exists("tests/test_teeth.py::test_a_test_that_is_not_there_is_missed")
    assert not exists("tests/test_teeth.py::test_that_nobody_wrote")
