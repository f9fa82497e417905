"""Why a component can be used, or not: its gates as they are, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inspector.machine.x86.world.gates import Chain, Gate

SOURCE = "Linux, Documentation/arch/x86/xstate.rst; Intel SDM vol. 1, 13.14"


def result_of(chain: Chain) -> str:
    """What an actor gets, and what decides it: ``guest kernel: #NM; the guest's XFD[18] is 1``."""
    touched, gate = chain.touched, chain.first_closed
    if touched.word == "grows":
        return f"{chain.actor}: the first use is #NM; its kernel then gives a larger buffer and clears XFD"
    if touched.works:
        return f"{chain.actor}: {touched.word}; nothing is in its way"
    if gate is not None:
        return f"{chain.actor}: {touched.word}; {gate.closed}" if touched.outcome is not None else gate.closed
    return f"{chain.actor}: {touched.word}" + (f"; does not hold: {touched.because}" if touched.because else "")


def gate_sentence(gate: Gate) -> str:
    """A gate as it is."""
    if gate.state == "open":
        return gate.text
    later = {"on use": "; its kernel opens it upon the first use", "passed": "; not in the way now"}
    return f"{gate.closed}{later.get(gate.state, '')}"


def why_lines(name: str, found: Sequence[Chain], use: str) -> Iterator[str]:
    """What is in the way of a component, and how it is used, as text."""
    *others, chain = found
    yield ""
    if use:
        yield use
    yield f"{name}, {result_of(chain)}"
    for gate in chain.gates:
        yield f"  {gate.state:<7} {gate_sentence(gate)}"
    for other in others:
        yield result_of(other)
