"""What scenarios of the arm64 machine begin with: the kind, and events that many of them share."""

from __future__ import annotations

from layouts.light import partial
from layouts.scenario import Scenario

#: SVE's interface: what was merged in 5.2, and what was first proposed.
ABIS = ("merged", "proposal")

Arm64 = partial(Scenario, architecture="arm64", policy=ABIS[0])
VM = ("open /dev/kvm", "KVM_CREATE_VM", "KVM_CREATE_VCPU")
MEMORY = ("KVM_SET_USER_MEMORY_REGION 0 0x40000000 0x8000000", "KVM_SET_ONE_REG pc 0x40000000")
ARRIVES = tuple(f"{event} host=1" for event in VM)
