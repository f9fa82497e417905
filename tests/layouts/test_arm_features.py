"""Architecture features by Arm's conditions, and the properties that Arm's names lead to."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from inspector.cli.main import main
from layouts.arm64.arm_features import ARM_SPELLING, conditions, features_in, find
from layouts.arm64.features import FEATURES
from layouts.arm64.properties import field_places

AARCHMRS = Path(__file__).parents[3] / "shared" / "data" / "aarchmrs" / "Features.json.xz"
ISAR0, ISAR1, PFR0, ZFR0, DFR0 = 0xC030, 0xC031, 0xC020, 0xC024, 0xC028


def test_features_of_registers() -> None:
    assert {"FEAT_AES", "FEAT_PMULL", "FEAT_LSE"} <= set(features_in({ISAR0: 0x200020}))
    assert "FEAT_LSE128" not in features_in({ISAR0: 0x200020})
    assert "FEAT_FP" in features_in({})
    assert "FEAT_FP" not in features_in({PFR0: 0xF0000})


def test_a_feature_of_several_fields() -> None:
    qarma5 = {ISAR1: 5 << 4 | 1 << 24}
    assert {"FEAT_PACQARMA5", "FEAT_FPACCOMBINE"} <= set(features_in(qarma5))
    assert "FEAT_PACIMP" not in features_in(qarma5)
    assert "FEAT_PACQARMA5" not in features_in({ISAR1: 5 << 4})


def test_what_stands_behind_another_feature() -> None:
    """ID_AA64ZFR0_EL1 says nothing without SVE."""
    assert "FEAT_SVE2" not in features_in({ZFR0: 1})
    assert "FEAT_SVE2" in features_in({ZFR0: 1, PFR0: 1 << 32})
    assert "FEAT_BF16" in features_in({ISAR1: 1 << 44})


def test_a_pmu_of_the_makers_own_is_no_pmuv3() -> None:
    assert "FEAT_PMUv3p5" in features_in({DFR0: 6 << 8})
    assert "FEAT_PMUv3" not in features_in({DFR0: 15 << 8})


def test_the_two_tables_agree() -> None:
    """Features by field and value (layouts/arm64/features.py) against Arm's conditions, where both have the feature."""
    known = {condition.feature for condition in conditions()}
    for (register, field), values in FEATURES.items():
        for value, feature in values.items():
            if feature in known and (register, field) in field_places():
                place = field_places()[register, field]
                # As Arm has it the algorithm needs the generic one too; both tables call the step the same.
                registers = {place.encoding: place.put(0, value), PFR0: 1 << 32}
                if place.encoding == PFR0:
                    registers = {PFR0: place.put(0, value) | 1 << 32}
                assert feature in features_in(registers) or feature.startswith("FEAT_SME"), (register, field, value)


def test_words_lead_to_properties() -> None:
    assert [match.word for match in find("FEAT_BF16")][:2] == ["feat_BF16=on", "feat_ZFR0_BF16=on"]
    assert "feat_PARANGE" in find("PARange")[0].word or any("feat_PARANGE" in m.word for m in find("PARange"))
    assert any(match.says == "Arm's Atomic" for match in find("Atomic"))
    assert any(match.word == "feat_APA=fpaccombine" for match in find("fpaccombine"))
    assert find("nothing of the kind") == []


def test_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "find", "FEAT_LSE"]) == 0
    assert "feat_ATOMIC=on" in capsys.readouterr().out
    assert main(["models", "find", "FEAT_NOPE"]) == 2
    assert "no feature, field or value has that name" in capsys.readouterr().err
    assert main(["models", "expand", "neoverse-v1-v1", "sve=off", "--host", "neoverse-v1", "--features"]) == 0
    out = capsys.readouterr().out
    guest, _, left = out.partition("features that this host would give")
    assert " FEAT_BF16 " in guest
    assert " FEAT_SVE" not in guest
    assert " FEAT_RNG " in left


def _comparisons(node: Any) -> set[tuple[str, str, int]]:
    """(register, field, number) of every comparison in an expression of AARCHMRS."""
    if isinstance(node, list):
        return set().union(*map(_comparisons, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    found = set().union(*(_comparisons(value) for value in node.values())) if node else set()
    left = node.get("left")
    if isinstance(left, dict) and left.get("_type") == "AST.Function" and node["right"].get("_type") == "AST.Integer":
        field = left["arguments"][0].get("value")
        if isinstance(field, dict) and "field" in field:
            found.add((field["name"], field["field"], int(node["right"]["value"])))
    return found


@pytest.mark.skipif(not AARCHMRS.exists(), reason="Arm's AARCHMRS stands beside the checkout, and is not here")
def test_the_conditions_are_arms() -> None:
    with lzma.open(AARCHMRS) as file:
        arm = {one["name"]: _comparisons(one["constraints"]) for one in json.load(file)["parameters"]}
    for condition in conditions():
        for terms in condition.alternatives:
            for term in terms:
                key = (term.place.register, term.place.name)
                spelled = (key[0], ARM_SPELLING.get(key, key[1]), term.number)
                assert spelled in arm[condition.feature], (condition.feature, spelled)
