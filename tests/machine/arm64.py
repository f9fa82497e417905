"""What many tests of the arm64 machine need: hosts, vCPUs, recorded answers."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from inspector.machine.arm64.host import PSCI_0_2, Host
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm
from inspector.machine.verify import Agreement
from layouts.arm64.hosts import bare_hosts
from layouts.arm64.ids import sysreg_id
from tests.machine.support import host_named

VERDICTS = Path(__file__).parent / "verdicts"
#: Batteries of arm64 by name.
FILES = sorted(path.name.removesuffix(".jsonl.gz") for path in VERDICTS.glob("arm64-*"))
#: The page that says how many answers of each recording agree.
DOCUMENTED = (Path(__file__).parents[2] / "docs" / "arm64-machine.md").read_text("utf-8").splitlines()


def documented_row(agreement: Agreement) -> str:
    """The row of a recording in the table of docs/arm64-machine.md."""
    cells = [f"{agree:,} of {total:,}" for agree, total in agreement.by_answer.values()]
    name = agreement.file.split(".jsonl")[0]
    return f"| `{name}` | {' | '.join(cells)} | {agreement.unasked:,} |"


@cache
def known_host(name: str, kernel: str = "7.2") -> Host:
    return host_named(f"{name}@{kernel}")


def hosts() -> list[Host]:
    return [known_host(name, kernel) for name in bare_hosts() for kernel in ("6.1", "6.12", "7.2")]


def as_vcpu(host: Host, features: int = PSCI_0_2) -> tuple[Vm, Vcpu]:
    vm = Vm(host)
    assert vm.create_vcpu(0).accepted
    assert vm.vcpus[0].init(features).accepted
    return vm, vm.vcpus[0]


def write(vcpu: Vcpu, encoding: int, value: int) -> str:
    """The name of KVM's answer."""
    return vcpu.set(sysreg_id(encoding), value.to_bytes(8, "little")).name
