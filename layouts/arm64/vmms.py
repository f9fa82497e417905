"""What QEMU does when it restores an arm64 vCPU: what it compares first, and what becomes of a refused call, as data.

A version is the first in which it is so; QEMU's own history goes back further than what was read (``_READ``).
"""

from __future__ import annotations

from layouts.vmms import OnRefusal

NAME, TITLE = "qemu", "QEMU"
SOURCE = "QEMU target/arm/kvm.c, kvm_arch_init_vcpu, write_list_to_kvmstate; target/arm/machine.c, cpu_post_load"

#: The releases whose source was read (Debian's 5.2.0, 7.2.0, 10.0.13 and 10.2.2): all alike.
_READ = ("5.2", "7.2", "10.0", "10.2")
#: Registers that the destination's KVM has not. A longer list fails where its length is read.
LISTS = OnRefusal(
    "2.0",
    "abort",
    "QEMU ends the migration before the first write: `error while loading state for instance 0x0 of device 'cpu'`",
    "QEMU target/arm/machine.c, cpu_post_load, vmstate_arm_cpu (cpreg_vmstate_array_len)",
    read_in=_READ,
)
#: A register that KVM does not take: the stream is loaded no further.
_SET_ONE_REG = OnRefusal(
    "2.0",
    "abort",
    "QEMU ends the migration without naming the register: `error while loading state for instance 0x0 of device "
    "'cpu'` (its trace event kvm_failed_reg_set has it)",
    "QEMU target/arm/machine.c, cpu_post_load; target/arm/kvm.c, write_list_to_kvmstate",
    read_in=_READ,
)
#: A vCPU that cannot be made: no stream is read.
_INIT = OnRefusal(
    "2.0",
    "abort",
    "QEMU exits before it reads the stream: the vCPU cannot be initialized",
    "QEMU target/arm/kvm.c, kvm_arch_init_vcpu; accel/kvm/kvm-all.c, kvm_init_vcpu",
    read_in=_READ,
)


def on_refusal(*, of_list: bool) -> OnRefusal:
    """What QEMU does with a refused call. ``of_list``: it sets a register of the list that moves."""
    return _SET_ONE_REG if of_list else _INIT
