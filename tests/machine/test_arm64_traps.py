"""Which accesses of a guest's kernel come to KVM (HCR_GUEST_FLAGS, vcpu_reset_hcr, kvm_arm_setup_mdcr_el2)."""

from __future__ import annotations

import pytest

from inspector.machine.arm64.traps import is_trapped
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import MMFR2
from layouts.arm64.kvm_ids import id_of_name
from tests.machine.arm64_bounds import bare_host

WRITTEN = (False, True)
NEVER, BOTH = (False, False), (True, True)
FWB, EVT = of.MMFR2_FWB.put(0, 1), of.MMFR2_EVT.put(0, 1)


@pytest.mark.parametrize(
    ("names", "kernel", "fields", "accesses"),
    [
        ("MIDR_EL1 MPIDR_EL1 TPIDR_EL1 CNTKCTL_EL1 TTBR0_EL2", "7.2", 0, NEVER),
        ("ID_PFR0_EL1 ID_AA64PFR0_EL1 MVFR0_EL1", "5.10", 0, BOTH),
        ("REVIDR_EL1 AIDR_EL1", "6.12", 0, NEVER),
        ("REVIDR_EL1 AIDR_EL1", "7.2", 0, BOTH),
        ("CCSIDR_EL1 CLIDR_EL1 CSSELR_EL1 CTR_EL0", "6.1", 0, NEVER),
        ("CCSIDR_EL1 CLIDR_EL1 CSSELR_EL1 CTR_EL0", "6.6", 0, BOTH),
        # With FEAT_EVT those of TID4 alone.
        ("CCSIDR_EL1 CLIDR_EL1 CSSELR_EL1", "6.6", EVT, BOTH),
        ("CTR_EL0", "6.6", EVT, NEVER),
        ("CTR_EL0", "6.6", FWB, BOTH),
        # Until the guest's caches are on; with FEAT_S2FWB never.
        ("SCTLR_EL1 TTBR1_EL1 TCR_EL1 ESR_EL1 FAR_EL1 AFSR0_EL1 MAIR_EL1 CONTEXTIDR_EL1", "7.2", EVT, WRITTEN),
        ("SCTLR_EL1 TTBR1_EL1 TCR_EL1 ESR_EL1 FAR_EL1 AFSR0_EL1 MAIR_EL1 CONTEXTIDR_EL1", "7.2", FWB, NEVER),
        ("ACTLR_EL1 LORC_EL1 ERRIDR_EL1 ERXFR_EL1", "7.2", FWB | EVT, BOTH),
        ("PMCR_EL0 PMCCNTR_EL0 PMEVTYPER3_EL0 PMSCR_EL1", "5.10", 0, BOTH),
        ("MDSCR_EL1 OSLAR_EL1 DBGBVR0_EL1", "7.2", 0, BOTH),
    ],
)
def test_what_comes_to_kvm(names: str, kernel: str, fields: int, accesses: tuple[bool, bool]) -> None:
    host = bare_host({MMFR2: fields}, kernel)
    for name in names.split():
        register = id_of_name(name)
        assert register is not None
        assert tuple(is_trapped(host, register.encoding, writes=one) for one in (False, True)) == accesses, name


def test_what_the_kernel_found_counts_and_not_what_guests_see() -> None:
    """A guest's ID_AA64MMFR2_EL1 may hide FEAT_S2FWB."""
    host, ttbr = bare_host({MMFR2: FWB}), id_of_name("TTBR0_EL1")
    assert ttbr is not None
    host.limits[MMFR2] = 0
    assert not is_trapped(host, ttbr.encoding, writes=True)
    host.sanitised, host.limits[MMFR2] = {}, FWB
    assert not is_trapped(host, ttbr.encoding, writes=True)
