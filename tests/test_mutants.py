"""What `make mutants` tells of mutants: the files that a name means, and those that change words alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import mutants

FILES = [Path("inspector/machine/arm64/pmu.py"), Path("inspector/machine/arm64/pmu_guest.py")]

MUTATED = """
def x_write__mutmut_orig(rule, value):
    rule.check("the value fits", value < 8, EINVAL)
    return f"of {value}"

def x_write__mutmut_1(rule, value):
    rule.check("XXthe value fitsXX", value < 8, EINVAL)
    return f"of {value}"

def x_write__mutmut_2(rule, value):
    rule.check("the value fits", value <= 8, EINVAL)
    return f"of {value}"

def x_write__mutmut_3(rule, value):
    rule.check(None, value < 8, EINVAL)
    return f"of {value}"

def x_write__mutmut_4(rule, value):
    rule.check("the value fits", value < 8, None)
    return f"of {value}"
"""


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("arm64/pmu.py", FILES[:1]),
        ("inspector/machine/arm64/pmu.py", FILES[:1]),
        ("inspector.machine.arm64.pmu.*", FILES[:1]),
        ("inspector.machine.arm64.pmu*", FILES),
        ("inspector.machine.arm64.pmu.x_write__mutmut_1", FILES[:1]),
        ("arm64/pm*.py", FILES),
        ("arm64/ipa.py", []),
    ],
)
def test_a_word_means_files(word: str, meant: list[Path]) -> None:
    assert mutants.files(FILES, [mutants.pattern(word)]) == meant
    assert mutants.files(FILES, []) == FILES


def test_words_alone_are_no_rule() -> None:
    assert mutants.words(MUTATED) == {"x_write__mutmut_1", "x_write__mutmut_3"}


def test_a_row_has_each_mutant_once() -> None:
    name = "inspector.machine.arm64.pmu.x_write__mutmut_{}".format
    states = dict(
        zip(map(name, range(1, 6)), ["survived", "killed", "killed", "caught by type check", "no tests"], strict=True)
    )
    assert mutants.row(FILES[0], states, {"x_write__mutmut_1"}) == "| `arm64/pmu.py` | 5 | 2 | 1 | 1 | 1 |"
