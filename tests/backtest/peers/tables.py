"""Reads the tables of figures that stand beside this file."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parent


@cache
def table(name: str) -> dict[str, list[dict[str, Any]]]:
    """Return a file's lists of cases by the name of the test they come from."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((FOLDER / name).read_text(), Loader=loader)


def cases(name: str, *tests: str) -> list[Any]:
    """Return the cases of these tests, each named after its test and its place there."""
    read = table(name)
    return [pytest.param(case, id=f"{test}-{case['n']}") for test in tests for case in read[test]]
