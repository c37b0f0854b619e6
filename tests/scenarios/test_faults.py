"""The table of faults in docs/ names proofs that exist."""

import ast
import re
from functools import cache

import pytest

from tests.scenarios.reading import FOLDER

ROOT = FOLDER.parent.parent
TABLE = ROOT / "docs" / "faults.md"


def rows():
    """Return fault and proof of each row."""
    lines = TABLE.read_text().splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return [row for row in cells if row[0] != "fault"]


@cache
def names_in(path):
    """Return the names of the tests in a file, without importing it."""
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, functions)}


def missing(proof):
    """Return the names in a proof that nothing bears."""
    named = re.findall(r"`([^`]+)`", proof)
    return [name for name in named if not exists(name)]


def exists(name):
    """Tell whether there is such a scenario or test."""
    if name.endswith(".yaml"):
        return (FOLDER / name).is_file()
    path, _, test = name.partition("::")
    return (ROOT / path).is_file() and test in names_in(path)


@pytest.mark.parametrize("row", [pytest.param(row, id=row[0][:60]) for row in rows()])
def test_each_fault_has_a_proof_that_exists(row):
    """Four cells; the last names scenarios and tests, and all of them are there."""
    assert len(row) == 4
    assert "`" in row[3]
    assert missing(row[3]) == []


@pytest.mark.parametrize(
    "name",
    [
        "a_failure_that_nobody_saw.yaml",
        "tests/test_loop.py::test_that_is_not_there",
        "tests/test_nothing.py::test_holds_without_a_write",
        "tests/test_loop.py",
    ],
)
def test_a_proof_that_does_not_exist_is_found(name):
    """A renamed test or file cannot leave the table behind."""
    assert missing(f"`{name}`") == [name]


def test_the_table_is_long():
    """Longer than any other autoscaler's."""
    assert len(rows()) >= 60


def test_no_fault_stands_twice():
    """Each is told once."""
    faults = [row[0] for row in rows()]
    assert len(set(faults)) == len(faults)
