"""The short strings of the ``hide`` batteries: DR6 and DR7 by bit, nested state as it is and with flags 0."""

from __future__ import annotations

from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.sweeps import NOT_TRIED, OTHER, SAME, char_of_errno

_DR6, _DR7 = 32, 40
_NESTED_SIZE_BYTES, _HEADER = 20000, 128


def dr_battery(vcpu: WholeVcpu) -> tuple[str, str]:
    """KVM_SET_DEBUGREGS with each bit of DR6, and of DR7, flipped."""
    base = vcpu.debugregs.get()
    return _flips(vcpu, base, _DR6), _flips(vcpu, base, _DR7)


def _flips(vcpu: WholeVcpu, base: bytes, offset: int) -> str:
    chars = []
    for bit in range(64):
        image = bytearray(base)
        image[offset + bit // 8] ^= 1 << (bit & 7)
        outcome = vcpu.debugregs.set(bytes(image))
        same = vcpu.debugregs.get()[offset : offset + 8] == image[offset : offset + 8]
        chars.append((SAME if same else OTHER) if outcome.accepted else char_of_errno(outcome.code))
        vcpu.debugregs.set(base)
    return "".join(chars)


def nest_battery(vcpu: WholeVcpu) -> str:
    """KVM_GET_NESTED_STATE, what it gave set again, and without flags."""
    code, image = vcpu.nested.get(_NESTED_SIZE_BYTES)
    if code:
        return char_of_errno(code) + 2 * NOT_TRIED
    bare = bytes(2) + image[2:4] + _HEADER.to_bytes(4, "little") + image[8:]
    outcomes = vcpu.nested.set(image), vcpu.nested.set(bare)
    return SAME + "".join(char_of_errno(outcome.code) for outcome in outcomes)
