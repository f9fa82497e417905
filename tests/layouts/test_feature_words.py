"""Arm's features by name: as a property of all their fields, as a view of a capture, in the searches of the screens."""

from __future__ import annotations

import json

import pytest

from inspector.cli.main import main
from inspector.machine.arm64.models.request import parse_words
from inspector.machine.arm64.models.workbench import PropertyRow, Workbench
from inspector.readers.options import Options
from inspector.targets.schemes import capture_of
from inspector.tui.id_lab_session import IdLabSession
from inspector.tui.session import Session
from layouts.arm64.arm_features import feature_words
from tests.machine.arm64 import known_host

GRAVITON3 = "sample:graviton3/linux-6.18"


def test_a_feature_of_several_fields_is_one_property() -> None:
    assert feature_words("FEAT_MTE4", "on") == ("feat_MTEX=mte4", "feat_MTESTOREONLY=on", "feat_MTEFAR=on")
    assert feature_words("feat_pacqarma5", "off") == ("feat_GPA=off", "feat_APA=off")


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("FEAT_NV2", "on", "several fields may show it"),
        ("FEAT_NONE", "on", "expected the name of a feature"),
        ("FEAT_SVE2", "1", "expected on or off"),
    ],
)
def test_words_that_are_no_property(name: str, value: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_words([f"{name}={value}"])


def test_a_guest_is_asked_for_by_features() -> None:
    assert parse_words(["FEAT_DotProd=off"]).assignments == (("feat_DP", "off"),)


def test_one_feature(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layouts", "show", "FEAT_SVE2"]) == 0
    out = capsys.readouterr().out
    assert "  shown by ID_AA64ZFR0_EL1.SVEver >= 1, with FEAT_SVE\n" in out
    assert "FEAT_SVE2 -> " in out


def test_what_a_register_file_implies(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["show", GRAVITON3, "--feat"])
    out = capsys.readouterr().out
    assert "FEAT_DotProd" in out
    assert code == int("violated: " in out)


def test_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", GRAVITON3, "--feat", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["schema"]) == ("features", 1)
    (vcpu,) = found["vcpus"]
    assert vcpu["features"]["FEAT_DotProd"] is True
    for one in vcpu["violations"]:
        assert set(one) == {"constraint", "features"}


def test_without_id_registers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "sample:zen5", "--feat"]) == 1
    assert "no vCPU with ID registers of arm64" in capsys.readouterr().err


def test_the_search_of_a_capture_knows_features() -> None:
    session = Session(capture_of(GRAVITON3, Options()))
    assert session.search("FEAT_DotProd")
    assert not session.search("FEAT_NoSuch")
    assert session.search("FEAT_MTE2")
    assert session.search("FEAT_DotProd")
    found = session.field()
    assert found is not None
    assert found.spec.path == "sysreg.ID_AA64ISAR0_EL1"


def test_the_search_of_the_lab_knows_features() -> None:
    session = IdLabSession(Workbench(known_host("max")))
    at = session.search("FEAT_DotProd", 0)
    assert at is not None
    line = session.lines[at]
    assert isinstance(line, PropertyRow)
    assert line.name == "feat_DP"
