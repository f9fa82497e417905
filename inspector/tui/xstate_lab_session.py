"""What the XSTATE lab works on: a world, its components, the events that have a key.

Toolkit-free, so that it can be tested without a screen.
"""

from __future__ import annotations

from collections.abc import Sequence

from inspector.machine.offers import Offer
from inspector.machine.x86.world.buffer import BufferMap, buffer_map
from inspector.machine.x86.world.gates import Chain, chains
from inspector.machine.x86.world.matrix import ComponentRow, component_rows
from inspector.machine.x86.world.offers import offers
from inspector.machine.x86.world.toggle import xcr0_toggled
from inspector.machine.x86.world.world import World
from inspector.tui.world_session import WorldSession
from layouts.scenario import Scenario


class XstateLabSession(WorldSession):
    """A simulated host, process and VM to play with."""

    world: World
    rows: Sequence[ComponentRow]

    def __init__(self, world: World, scenario: Scenario, origin: Sequence[str] | None = ()) -> None:
        super().__init__(world, scenario, origin)
        self.rows = component_rows(world)

    def event(self, words: str, component: int) -> str:
        """One of the events with a key, on the vCPU that is looked at; ``{row}`` is a component's number."""
        words = words.replace("{row}", str(component))
        if self.vcpu_number and not words.startswith(("arch_prctl", "KVM_CREATE")):
            words += f" vcpu={self.vcpu_number}"
        return self.happen(words)

    def toggle(self, register: str, component: int) -> str:
        """Toggle a component: in XCR0 by a guest XSETBV, with what goes with it or bare, in XFD by a guest WRMSR."""
        vcpu = self.world.vcpu_state(self.vcpu_number)
        if vcpu is None:
            return "there is no vCPU; KVM_CREATE_VCPU makes one"
        if register == "XFD":
            return self.event(f"guest wrmsr XFD {vcpu.xfd ^ 1 << component:#x}", component)
        return self.event(f"guest xsetbv {_toggled(register, vcpu.xcr0, component):#x}", component)

    def words_of(self, action: str, label: str, row: int) -> str:
        """See WorldSession."""
        component, vcpu = self.rows[row].number, self.world.vcpu_state(self.vcpu_number)
        if not action.startswith("flip") or vcpu is None:
            return super().words_of(action, label, row)
        register = action.split("'")[1]
        if register == "XFD":
            return f"WRMSR XFD[{component}] = {1 - (vcpu.xfd >> component & 1)}"
        changes = vcpu.xcr0 ^ _toggled(register, vcpu.xcr0, component)
        numbers = "+".join(str(bit) for bit in range(64) if changes >> bit & 1)
        return f"XSETBV: {numbers} {'off' if vcpu.xcr0 >> component & 1 else 'on'}"

    def row_words(self, row: int) -> str:
        """See WorldSession."""
        return f"{self.rows[row].number} {self.rows[row].name}"

    def offers(self) -> list[Offer]:
        """See WorldSession."""
        steps = self.world.steps
        return offers(steps[-1], self.world.vcpu_state(self.vcpu_number)) if steps else []

    def _look(self) -> None:
        super()._look()
        self.rows = component_rows(self.world, self.vcpu_number)

    def chains(self, component: int) -> tuple[Chain, ...]:
        """The gates between a component and each actor."""
        return chains(self.world, component, self.vcpu_number)

    def buffers(self) -> tuple[BufferMap, BufferMap]:
        """The buffer before the last event, and now."""
        host, steps = self.world.host, self.world.steps
        now = buffer_map(host, self.world.state(), self.vcpu_number)
        return (buffer_map(host, steps[-1].before, self.vcpu_number) if steps else now), now

    def is_called(self, row: int, text: str) -> bool:
        """See WorldSession: a component by its name or number."""
        return text in self.rows[row].name.lower() or text == str(self.rows[row].number)

    def bytes_path(self, component: str) -> str:
        """Where the bytes of a component are in the capture."""
        return f"{'xsave' if self.world.vcpu is not None else 'fpstate_image'}.{component}.*"


def _toggled(register: str, xcr0: int, component: int) -> int:
    """XCR0 with a component the other way: with what goes with it, or its bare bit."""
    return xcr0_toggled(xcr0, component) if register == "XCR0" else xcr0 ^ 1 << component
