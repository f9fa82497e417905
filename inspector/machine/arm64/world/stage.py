"""Where arm64 events happen: hosts, the VMs on each, and what their VMM saved to bring it from one to another."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.machine.arm64.captured import State
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.models.request import IDENTITY, parse_words, request
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm
from inspector.machine.events import CAPTURED
from layouts.arm64.ids import CLIDR, sysreg_id
from layouts.arm64.named_models import model_named, named_models

MODEL = "model:"


class Node:
    """A host, and the VMs on it by number."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.vms: dict[int, Vm] = {}

    @property
    def vm(self) -> Vm | None:
        """The first VM."""
        return self.vms.get(0)


class Saved:
    """What a VMM keeps of a vCPU: registers by KVM register id, features, and vector lengths (bit vq-1) if it asked."""

    def __init__(self) -> None:
        self.registers: dict[int, bytes] = {}
        self.features = 0
        self.vqs: int | None = None


class Stage:
    """The hosts, the first one named nowhere or ``host=0``; and the words of the event that say where it happens.

    ``abi`` is SVE's interface, ``captured`` a vCPU's state for events to put.
    """

    def __init__(self, hosts: Sequence[Host], abi: str = "merged", captured: State | None = None) -> None:
        self.hosts = tuple(hosts)
        self.abi = abi
        self.captured = captured
        self.reset()

    def reset(self) -> None:
        """As it was before any event."""
        self.nodes = [Node(host) for host in self.hosts]
        self.saved = Saved()
        self.at: dict[str, int] = {}

    @property
    def host(self) -> Host:
        """The first host."""
        return self.hosts[0]

    def node(self) -> Node:
        """The host that the event names. Raises ValueError."""
        number = self.at.get("host", 0)
        if number >= len(self.nodes):
            raise ValueError(f"there is no host {number}; there are {len(self.nodes)}")
        return self.nodes[number]

    def vm(self) -> Vm:
        """The VM on it that the event names. Raises ValueError."""
        number = self.at.get("vm", 0)
        vm = self.node().vms.get(number)
        if vm is None:
            raise ValueError(f"there is no VM{f' {number}' if number else ''}; KVM_CREATE_VM comes first")
        return vm

    def vcpu(self) -> Vcpu:
        """The vCPU that the event names. Raises ValueError."""
        number = self.at.get("vcpu", 0)
        found = self.vm().vcpus.get(number)
        if found is None:
            raise ValueError(f"there is no vCPU {number}; KVM_CREATE_VCPU comes first")
        return found

    def state_to_put(self, text: str) -> Saved:
        """What was ``saved`` or ``captured``, or what ``model:NAME,PROPERTY=VALUE`` asks for. Raises ValueError."""
        if text.startswith(MODEL):
            return self._of_model(text.removeprefix(MODEL))
        if text == "saved":
            if not self.saved.features:
                raise ValueError("nothing was saved; KVM_GET_ONE_REG all comes first")
            return self.saved
        if self.captured is None:
            raise ValueError("nothing was captured; --from names a capture")
        found = Saved()
        found.registers, found.features = dict(self.captured.registers), self.captured.features
        found.vqs = self.captured.vqs or None
        return found

    def _of_model(self, text: str) -> Saved:
        """What a VMM sets for a guest of a model on the host: features, lengths, and ID registers that change."""
        name, *words = text.split(",")
        model = model_named(name, named_models())
        if model is None:
            raise ValueError(f"no CPU model {name}; inspector models list has them")
        host = self.node().host
        asked = request(model, parse_words(words), host)
        found = Saved()
        found.features, found.vqs = asked.features, asked.vqs
        for encoding, value in sorted(asked.registers.items()):
            if encoding != CLIDR and (encoding not in IDENTITY or value != host.limit(encoding, asked.features)):
                found.registers[sysreg_id(encoding)] = value.to_bytes(8, "little")
        return found


def names_state(text: str) -> bool:
    """The word names a whole state to put."""
    return text in ("saved", CAPTURED) or text.startswith(MODEL)
