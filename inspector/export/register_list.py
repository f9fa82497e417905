"""An arm64 vCPU's registers as a list of text."""

from __future__ import annotations

from inspector.capture.errors import visible
from inspector.machine.arm64.captured import State


def register_list(state: State) -> str:
    """``id value`` lines, as register lists are read."""
    lines = [f"# {visible(state.name)}"]
    lines += [
        f"{register_id:#018x} {int.from_bytes(data, 'little'):#x}" for register_id, data in state.registers.items()
    ]
    return "\n".join(lines) + "\n"
