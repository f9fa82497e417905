"""What kernels did on the way to an answer, as a tracer in them would print it."""

from __future__ import annotations

from inspector.machine.world import Line


class Costs:
    """What the host paid for XFD since the world began: counts of instructions, exits and checks.

    ``eager_wrmsr_xfd`` is what WRMSR XFD would count if every context switch wrote the XFD of the task that
    comes, a kernel thread's too; Linux writes it when a task returns to user space with another one.
    """

    def __init__(self) -> None:
        self.vm_exits = 0
        self.wrmsr_xfd = 0
        self.eager_wrmsr_xfd = 0
        self.rdmsr_xfd = 0
        #: XINUSE looked at because of an option of the proposal.
        self.checks = 0

    def words(self) -> str:
        """The counts in one line."""
        checks = f", {self.checks} checks of XINUSE" if self.checks else ""
        return (
            f"{self.vm_exits} VM exits; XFD: {self.wrmsr_xfd} WRMSR (eager switching: {self.eager_wrmsr_xfd}), "
            f"{self.rdmsr_xfd} RDMSR{checks}"
        )


class Trace:
    """The lines of the event that is happening, and what all events cost."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.costs = Costs()

    def add(self, level: str, cpu: int, task: str, text: str, calls: tuple[str, ...] = ()) -> None:
        """A line; it names the function that does it."""
        self.lines.append(Line(level, cpu, task, f"{text} ({calls[0]})" if calls else text, calls))

    def take(self) -> tuple[Line, ...]:
        """The lines so far; the next event starts anew."""
        lines, self.lines = tuple(self.lines), []
        return lines
