"""What the XSTATE lab works on: a world, its components, the events that have a key.

Toolkit-free, so that it can be tested without a screen.
"""

from __future__ import annotations

from collections.abc import Sequence

from inspector.machine.x86.world.buffer import BufferMap, buffer_map
from inspector.machine.x86.world.gates import Chain, chains
from inspector.machine.x86.world.matrix import component_rows
from inspector.machine.x86.world.world import World
from inspector.tui.world_session import WorldSession
from layouts.scenario import Scenario


class XstateLabSession(WorldSession):
    """A simulated host, process and VM to play with."""

    world: World

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
        """Toggle a component's bit: of XCR0 by a guest XSETBV, of XFD by a guest WRMSR."""
        vcpu = self.world.vcpu_state(self.vcpu_number)
        if vcpu is None:
            return "there is no vCPU; v creates one"
        if register == "XCR0":
            return self.event(f"guest xsetbv {vcpu.xcr0 ^ 1 << component:#x}", component)
        return self.event(f"guest wrmsr XFD {vcpu.xfd ^ 1 << component:#x}", component)

    def _look(self) -> None:
        super()._look()
        self.rows = component_rows(self.world, self.vcpu_number)

    def chains(self, component: int) -> tuple[Chain, ...]:
        """The gates between a component and each actor."""
        return chains(self.world, component, self.vcpu_number)

    def buffers(self) -> tuple[BufferMap, BufferMap]:
        """The buffer before the last event, and now."""
        states = [self.world.steps[-1].before] if self.world.steps else []
        before, *_, now = (
            buffer_map(self.world.host, state, self.vcpu_number) for state in (*states, *[self.world.state()] * 2)
        )
        return before, now

    def search(self, text: str, start: int) -> int | None:
        """The next row behind ``start`` whose component has the name or the number."""
        self.search_text = text
        wanted, count = text.lower(), len(self.rows)
        for at in range(start + 1, start + 1 + count):
            row = self.rows[at % count]
            if wanted in row.name.lower() or wanted == str(row.number):
                return at % count
        return None

    def bytes_path(self, component: str) -> str:
        """Where the bytes of a component are in the capture."""
        return f"{'xsave' if self.world.vcpu is not None else 'fpstate_image'}.{component}.*"
