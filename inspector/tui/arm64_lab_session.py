"""What the lab of an arm64 world works on: hosts, a vCPU that is looked at, its features.

Toolkit-free, so that it can be tested without a screen.
"""

from __future__ import annotations

from collections.abc import Sequence

from inspector.machine.arm64.models.workbench import Workbench
from inspector.machine.arm64.world.matrix import FeatureRow, feature_rows
from inspector.machine.arm64.world.offers import offers
from inspector.machine.arm64.world.words import FEATURE_NAMES
from inspector.machine.arm64.world.world import Arm64World
from inspector.machine.offers import Offer
from inspector.targets.labs import IdLab
from inspector.tui.world_session import WorldSession
from layouts.scenario import Scenario

_PSCI = 1 << FEATURE_NAMES.index("PSCI_0_2")
#: Events that happen to a host or its VM, whatever vCPU is looked at.
_OF_VM = ("open", "KVM_CREATE", "KVM_ENABLE_CAP", "KVM_CHECK", "KVM_SET_USER", "KVM_GET_API")


class Arm64LabSession(WorldSession):
    """Simulated hosts and VMs to play with. One looks at ``host_number``, and at VM ``vm_number`` on it."""

    world: Arm64World
    rows: Sequence[FeatureRow]

    def __init__(self, world: Arm64World, scenario: Scenario, origin: Sequence[str] | None = ()) -> None:
        super().__init__(world, scenario, origin)
        self.host_number = self.vm_number = 0
        self.rows = feature_rows(world)

    @property
    def host_words(self) -> str:
        """The host that is looked at; of several also its number."""
        host = self.world.hosts[self.host_number]
        number = f"host {self.host_number}: " if len(self.world.hosts) > 1 else ""
        vm = f", VM {self.vm_number}" if len(self.world.nodes[self.host_number].vms) > 1 else ""
        return f"{number}{host.name}, {host.kernel.title}{vm}"

    def look_at_host(self, number: int) -> None:
        """Another host, behind the last the first."""
        self.host_number = number % len(self.world.hosts)
        self._look()

    def event(self, words: str) -> str:
        """One of the events with a key, on the host and the vCPU that are looked at."""
        vms = self.world.nodes[self.host_number].vms
        vm_number = len(vms) if words == "KVM_CREATE_VM" else self.vm_number
        if vm_number:
            words += f" vm={vm_number}"
        if self.vcpu_number and not words.startswith(_OF_VM):
            words += f" vcpu={self.vcpu_number}"
        if self.host_number:
            words += f" host={self.host_number}"
        return self.happen(words)

    def id_lab(self) -> IdLab:
        """The ID-register lab of the host that is looked at; of several also of the next one."""
        scenario, here = self.scenario, self.host_number
        words = [f"{scenario.host}@{scenario.kernel}", *scenario.destinations]
        hosts = [*self.world.hosts[here:], *self.world.hosts[:here]]
        names = [
            word if "@" in word else f"{word}@{host.kernel.release}"
            for word, host in zip([*words[here:], *words[:here]], hosts, strict=True)
        ]
        bench = Workbench(hosts[0], abi=self.world.abi)
        return IdLab(bench, *((hosts[1], names[0], names[1]) if len(hosts) > 1 else (None, names[0], "")))

    def toggle(self, row: FeatureRow) -> str:
        """KVM_ARM_VCPU_INIT with a feature or without it, or the capability that gives it."""
        if row.feature.name == "MTE":
            return self.event("KVM_ENABLE_CAP ARM_MTE")
        if not row.feature.bits:
            return f"{row.feature.name}: no vCPU feature asks for it"
        wanted = self._features() ^ row.feature.bits
        names = [name for bit, name in enumerate(FEATURE_NAMES) if wanted >> bit & 1]
        return self.event(" ".join(("KVM_ARM_VCPU_INIT", *names)))

    def _features(self) -> int:
        """What the vCPU was initialized with, or would be."""
        vm = self.world.nodes[self.host_number].vms.get(self.vm_number)
        vcpu = vm.vcpus.get(self.vcpu_number) if vm is not None else None
        return vcpu.features if vcpu is not None and vcpu.initialized else _PSCI

    def words_of(self, action: str, label: str, row: int) -> str:
        """See WorldSession."""
        feature = self.rows[row].feature
        if action == "execute":
            return f"guest {feature.instruction}" if feature.instruction else "no instruction uses it"
        if action != "feature":
            return super().words_of(action, label, row)
        if feature.name == "MTE":
            return "ENABLE_CAP ARM_MTE"
        if not feature.bits:
            return "no vCPU feature asks for it"
        return f"VCPU_INIT {'without' if self._features() & feature.bits else 'with'} {feature.name}"

    def row_words(self, row: int) -> str:
        """See WorldSession."""
        return self.rows[row].feature.name

    def execute(self, row: FeatureRow) -> str:
        """The feature's instruction in the guest."""
        if not row.feature.instruction:
            return f"{row.feature.name}: no instruction here uses it"
        return self.event(f"guest {row.feature.instruction}")

    def _happen(self, event: str) -> str:
        wrong = super()._happen(event)
        if not wrong:
            # One looks at the host and the VM to which it happened.
            self.vm_number = self.world.at.get("vm", 0)
            self.look_at_host(self.world.at.get("host", 0))
        return wrong

    def _look(self) -> None:
        super()._look()
        if self.vm_number not in self.world.nodes[self.host_number].vms:
            self.vm_number = 0
        self.rows = feature_rows(self.world, self.host_number, self.vcpu_number, self.vm_number)

    def offers(self) -> list[Offer]:
        """See WorldSession."""
        return offers(self.world.steps[-1], self.world.nodes[self.host_number]) if self.world.steps else []

    def is_called(self, row: int, text: str) -> bool:
        """See WorldSession: a feature by its name, its ID register's field, or its instruction."""
        feature = self.rows[row].feature
        return text in " ".join((feature.name, ".".join(feature.field), feature.instruction)).lower()

    def bytes_path(self) -> str:
        """Where the bytes of the vCPU begin in the capture."""
        return "core.*"

    def capture_index(self) -> int:
        """Which vCPU of the capture is looked at: those of the hosts before come first."""
        return sum(
            1
            for number, node in enumerate(self.world.nodes)
            for at, vcpu in sorted(node.vm.vcpus.items() if node.vm is not None else ())
            if vcpu.initialized and (number, at) < (self.host_number, self.vcpu_number)
        )
