"""Why the machine is not asked for some recorded answers."""

from __future__ import annotations

from inspector.machine.arm64 import held
from inspector.machine.arm64.host import HAS_EL2
from inspector.machine.arm64.registers import is_answered
from inspector.machine.arm64.vcpu import Vcpu
from layouts.arm64.ids import RegisterId

CLOCK = "the host's clock (kvm_phys_timer_read)"
EL2_MASKS = "masks of a nested guest that ran (kvm_init_nv_sysregs)"
OTHER_SYSREG = "what the host's hardware has in other registers"
GUEST_CODE = "values that guest code computed"
EL0 = "DCZID_EL0 of that CPU, which nobody read"
TIMER = "the recorder's timer ended the run"
HIDDEN = "the answer hangs on a field of the host that KVM hides (MPAM, MPAM_frac, NV)"
RECALLED = "the host is what the file itself shows"


def of(vcpu: Vcpu, register_id: int) -> str:
    """Why the machine is not asked what a vCPU says of an id; empty where it has a rule."""
    if is_answered(vcpu, register_id):
        return ""
    if held.is_clock(RegisterId(register_id).encoding):
        return CLOCK
    return EL2_MASKS if vcpu.features & HAS_EL2 and vcpu.vm.ran else OTHER_SYSREG
