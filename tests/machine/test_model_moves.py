"""Named models on several hosts: whether guests are the same there, and move."""

from __future__ import annotations

import pytest

from inspector.cli.main import main
from inspector.export.models import check_text
from inspector.machine.arm64.models.moves import unlike
from tests.machine.cores import made


def test_usable_on_both_is_not_yet_a_move(capsys: pytest.CaptureFixture[str]) -> None:
    """Without AArch32 ID_DFR0_EL1 is 0, which a host with AArch32 refuses."""
    words = ["models", "check", "neoverse-v1-v1", "sve=off", "--host", "graviton4", "--host", "graviton3"]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert out.count("usable yes") == 2
    assert "graviton4 -> graviton3: refused; KVM_SET_ONE_REG sysreg.ID_DFR0_EL1: EINVAL" in out
    assert "graviton3 -> graviton4: arrives, with KVM_CAP_ARM_WRITABLE_IMP_ID_REGS for sysreg.MIDR_EL1" in out
    assert "not the same guest: ID_DFR0_EL1 is 0x0 on graviton4, 0x6 on graviton3" in out
    assert main([*words, "--json"]) == 1
    assert '"needs_writable_imp_ids": true' in capsys.readouterr().out


def test_one_chip_twice_moves_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "check", "graviton2-v1", "--host", "graviton2", "--host", "graviton2@6.18"]) == 0
    out = capsys.readouterr().out
    assert out.count(": arrives") == 2
    assert "not the same guest" not in out


def test_pointer_authentication_is_the_models_not_the_hosts() -> None:
    assert made("neoverse-v1-v1", "neoverse-v1", "pauth=on").usable
    qarma3 = made("neoverse-v1-v1", "max,pauth-qarma3=on", "pauth=on")
    assert {"feat_APA", "feat_GPA"} <= {blocker.name for blocker in qarma3.blockers}


def test_a_model_that_names_no_algorithm_gives_unlike_guests() -> None:
    words = ["pauth=on", "feat_EVT=ttlbxs", "feat_FWB=on", "feat_IDS=on", "feat_DoubleLock=off"]
    words += [f"feat_TGRAN{size}_2=off" for size in (4, 16, 64)]
    found = [made("cortex-a76-v1", name, *words) for name in ("max", "max,pauth-qarma3=on")]
    assert all(one.usable for one in found), [str(blocker) for one in found for blocker in one.blockers]
    assert {"API", "GPI", "APA3", "GPA3"} == {one.field for one in unlike(found)}
    assert "note: pauth=on takes this host's API=5, GPI=1" in "\n".join(
        check_text("cortex-a76-v1", found[0], steps=False)
    )


def test_the_baseline_tries_switches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "baseline", "neoverse-v1", "neoverse-n2"]) == 0
    out = capsys.readouterr().out
    assert "best model that runs on all: neoverse-v1-v1 sve256=off pmu=on" in out
    assert "neoverse-v1 -> neoverse-n2: arrives" in out
    assert "el3_mode" not in out
    assert "el2_mode" not in out
    # The lengths of graviton3 are not told, so the answer that is sure has no SVE.
    assert main(["models", "baseline", "neoverse-v1", "graviton3"]) == 0
    assert "best model that runs on all: graviton3-v1 sve=off" in capsys.readouterr().out
    assert main(["models", "baseline", "grace", "graviton3"]) == 0
    assert "neoverse-v1-v1     may run on all with sve256=off pmu=on" in capsys.readouterr().out
