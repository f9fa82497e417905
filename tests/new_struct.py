"""Run commands with a KVM structure that nobody asked for: python -m tests.new_struct WORDS [-- WORDS]...

``struct kvm_clock_data`` as CONTRIBUTING says: one Layout in ``layouts/x86/kvm.py``, listed in ``FIXED``.
"""

from __future__ import annotations

import sys

from layouts.declare import Array, Int32ul, Int64ul, Struct
from layouts.vocabulary import Layout
from layouts.x86 import kvm

NEW = Layout(
    "kvm-clock-data",
    "the VM's clock (KVM_GET_CLOCK)",
    "clock",
    Struct(
        "clock" / Int64ul * "nanoseconds",
        "flags" / Int32ul * "KVM_CLOCK_*",
        "pad0" / Int32ul * "pad0",
        "realtime" / Int64ul * "CLOCK_REALTIME",
        "host_tsc" / Int64ul * "the host's TSC",
        "pad" / Array(4, Int32ul) * "pad",
    ),
    "Linux include/uapi/linux/kvm.h, struct kvm_clock_data",
    file_names=("clock_data",),
    json_keys=("clock_data",),
)


def add() -> None:
    """The structure, before anything else has read the tables."""
    kvm.FIXED += (NEW,)
    kvm.STRUCTS += (NEW,)


if __name__ == "__main__":
    add()
    from inspector.cli.main import main

    commands = " ".join(sys.argv[1:]).split(" -- ")
    sys.exit(max(main(command.split()) for command in commands))
