"""What kernels did on the way to an answer, as a tracer in them would print it."""

from __future__ import annotations

from inspector.machine.log import Executed, Line


class Costs:
    """What the host paid for XFD since the world began: counts of instructions, exits and checks.

    An instruction of a guest outside KVM_RUN has a run of its own; what ends that is not counted.
    ``allocated_bytes`` are the images in the buffers that its kernel allocated for vCPUs, and for tasks upon #NM
    (fpu_alloc_guest_fpstate, fpstate_realloc). ``eager_wrmsr_xfd`` is what WRMSR XFD would count if every context
    switch wrote the XFD of the task that comes, a kernel thread's too; Linux writes it when a task returns to user
    space with another one.
    """

    def __init__(self) -> None:
        self.vm_exits = 0
        self.wrmsr_xfd = 0
        self.eager_wrmsr_xfd = 0
        self.rdmsr_xfd = 0
        #: XINUSE looked at because of an option of the proposal.
        self.checks = 0
        self.allocated_bytes = 0

    def words(self) -> str:
        """The counts in one line."""
        checks = f", {self.checks} checks of XINUSE" if self.checks else ""
        return (
            f"{self.vm_exits} VM exits; XFD: {self.wrmsr_xfd} WRMSR (eager switching: {self.eager_wrmsr_xfd}), "
            f"{self.rdmsr_xfd} RDMSR{checks}; {self.allocated_bytes} bytes of buffers"
        )


class Trace:
    """The lines of the event that is happening, and what all events cost."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.executed: list[Executed] = []
        self.costs = Costs()

    def add(self, level: str, cpu: int, task: str, text: str, calls: tuple[str, ...] = ()) -> None:
        """A line; it names the function that does it."""
        self.lines.append(Line(level, cpu, task, f"{text} ({calls[0]})" if calls else text, calls))

    def instruction(self, vcpu: int, *, exited: bool) -> None:
        """A guest's instruction came to its end."""
        self.executed.append(Executed(vcpu, exited, len(self.lines)))

    def take(self) -> tuple[tuple[Line, ...], tuple[Executed, ...]]:
        """Lines and instructions so far; the next event starts anew."""
        taken = tuple(self.lines), tuple(self.executed)
        self.lines, self.executed = [], []
        return taken
