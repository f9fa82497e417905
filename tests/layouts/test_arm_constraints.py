"""Arm's constraints between features: the evaluator, and the table against Arm's file, where that is there."""

from __future__ import annotations

import json
import lzma
from typing import Any

import pytest

from layouts.arm64.arm_constraints import constraints, features_known, violated
from tests.shared import SHARED, needs

AARCHMRS = SHARED / "data/aarchmrs/Features.json.xz"
ISAR0, ISAR1, PFR0, ZFR0 = 0xC030, 0xC031, 0xC020, 0xC024


def test_a_violation_needs_every_register_that_decides() -> None:
    sve_without_fp16 = {PFR0: 1 << 32 | 0x11, ISAR0: 0, ISAR1: 0}
    assert "FEAT_SVE -> (FEAT_FCMA & FEAT_FP16)" in [one.text for one in violated(sve_without_fp16)]
    assert "FEAT_SVE -> (FEAT_FCMA & FEAT_FP16)" not in [one.text for one in violated({ISAR0: 0})]
    assert features_known({ISAR0: 0})["FEAT_SVE"] is None


def test_a_register_behind_a_feature() -> None:
    assert features_known({ZFR0: 1, PFR0: 0})["FEAT_SVE2"] is False


def logical(node: dict[str, Any]) -> bool:
    if node["_type"] == "AST.Identifier":
        return str(node["value"]).startswith("FEAT_")
    if node["_type"] == "AST.UnaryOp":
        return node["op"] == "!" and logical(node["expr"])
    is_one = node["_type"] == "AST.BinaryOp" and node["op"] in ("&&", "||", "-->")
    return is_one and logical(node["left"]) and logical(node["right"])


def spelled(node: dict[str, Any]) -> str:
    if node["_type"] == "AST.Identifier":
        return str(node["value"])
    if node["_type"] == "AST.UnaryOp":
        return f"!{spelled(node['expr'])}"
    parts = [node["left"], node["right"]]
    words = [f"({spelled(one)})" if one.get("op", "!") not in ("!", node["op"]) else spelled(one) for one in parts]
    return f" { ({'&&': '&', '||': '|', '-->': '->'}[node['op']]) } ".join(words)


@needs(AARCHMRS)
def test_the_table_is_arms() -> None:
    data = json.loads(lzma.decompress(AARCHMRS.read_bytes()))
    found = {
        spelled(one) for entry in data["parameters"] for one in entry["constraints"] if logical(one) and "op" in one
    }
    assert {one.text for one in constraints()} == {text for text in found if "->" in text}


@pytest.mark.parametrize("text", ["FEAT_SVE2 -> FEAT_SVE", "FEAT_PMULL -> FEAT_AES"])
def test_constraints_that_everybody_knows(text: str) -> None:
    assert text in [one.text for one in constraints()]
