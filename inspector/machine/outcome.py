"""What an event came to: the verdict, and the checks that led to it in their order."""

from __future__ import annotations

import errno

from layouts.light import Literal, NamedTuple

#: What an event can come to: ``short`` is a call that did less than was asked, ``depends-on`` an answer that hangs on
#: what is not known, ``blocked`` the end of a way that something stands in (no call was made).
Verdict = Literal["ok", "errno", "exception", "signal", "host-oops", "short", "depends-on", "blocked"]
#: Who says that an answer is so: a kernel's source, a manual, a processor or an emulator whose answers were recorded,
#: the TDX module's source, the proposal that came before upstream, or nobody but the one who asks. ``unmeasured`` is
#: an instruction on a processor of another vendor than the recorded one's: taken to do the same.
Evidence = Literal["kernel", "manual", "silicon", "emulator", "unmeasured", "tdx-module", "proposal", "assumed"]


class Check(NamedTuple):
    """One check of a rule: whether it held, and what it says."""

    text: str
    held: bool


class Outcome(NamedTuple):
    """The answer to an event.

    ``code`` is the errno, vector, signal or number asked for that goes with the verdict, ``value`` or
    ``image`` what the event returned. The last check is the one that decided. ``source`` is the function or
    section to read, ``evidence`` who says so.
    """

    verdict: Verdict
    code: int
    checks: tuple[Check, ...]
    source: str
    value: int = 0
    image: bytes = b""
    error_code: int = 0
    evidence: Evidence = "kernel"

    @property
    def accepted(self) -> bool:
        """The kernel or processor said yes."""
        return self.verdict == "ok"

    @property
    def result(self) -> int:
        """How recorded guest instructions count it: 100 executed, else the vector."""
        return EXECUTED if self.accepted else self.code

    @property
    def because(self) -> str:
        """The check that decided, in words."""
        return self.checks[-1].text if self.checks else ""

    @property
    def name(self) -> str:
        """The verdict as users know it: ``EINVAL``, ``#GP``, ``SIGILL``, ``ok``, ``host-oops``."""
        if self.verdict == "errno":
            # Linux has one number for ENOTSUP and EOPNOTSUPP; its sources say EOPNOTSUPP.
            return "EOPNOTSUPP" if self.code == errno.EOPNOTSUPP else errno.errorcode.get(self.code, str(self.code))
        if self.verdict == "exception":
            return VECTORS.get(self.code, str(self.code))
        if self.verdict == "signal":
            import signal

            return signal.Signals(self.code).name
        if self.verdict == "short":
            return f"{self.value} of {self.code}"
        return self.verdict

    def __str__(self) -> str:
        if self.verdict == "depends-on":
            return self.because or self.name
        failed = not all(check.held for check in self.checks)
        return f"{self.name}; this does not hold: {self.because}" if failed else self.name


class Step:
    """An event that happened, and what came of it; ``event`` is a call or an instruction in words."""

    def __init__(self, event: str, outcome: Outcome) -> None:
        self.event = event
        self.outcome = outcome


#: Exceptions of arm64 guests at EL1, as ESR_EL1 has them without a syndrome: EC, and IL (Arm ARM, D24.2.40).
ESR_UNDEF, ESR_FP, ESR_SVE, ESR_SME = (ec << 26 | 1 << 25 for ec in (0x00, 0x07, 0x19, 0x1D))
#: Exceptions by number: vectors of x86 (Intel SDM vol. 3, 6.3.1), ESR_EL1 of arm64.
VECTORS = {
    6: "#UD",
    7: "#NM",
    13: "#GP",
    14: "#PF",
    16: "#MF",
    19: "#XM",
    ESR_UNDEF: "UNDEF",
    ESR_FP: "FP trap",
    ESR_SVE: "SVE trap",
    ESR_SME: "SME trap",
}
UD, NM, GP, PF, MF, XM = 6, 7, 13, 14, 16, 19
EXECUTED = 100


_new = tuple.__new__


class MemoryFaultError(Exception):
    """An access to memory that fails: ``vector`` is #GP or #PF, the latter with ``address`` and ``error_code``."""

    def __init__(self, vector: int, address: int, error_code: int = 0) -> None:
        super().__init__(vector, address, error_code)
        self.vector = vector
        self.address = address
        self.error_code = error_code


class Rule:
    """Checks of one event, made in the kernel's order; the first that fails decides."""

    __slots__ = ("checks", "evidence", "source")

    def __init__(self, source: str, evidence: Evidence = "kernel") -> None:
        self.source = source
        self.evidence = evidence
        self.checks: list[Check] = []

    @property
    def failed(self) -> bool:
        """The last check did not hold."""
        return bool(self.checks) and not self.checks[-1].held

    def check(self, text: str, held: object) -> bool:
        """Add a check; True when it held."""
        held = bool(held)
        # As Check(text, held), at half the time: a million recorded answers come through here.
        self.checks.append(_new(Check, (text, held)))
        return held

    def ok(self, value: int = 0, image: bytes = b"") -> Outcome:
        """All checks held."""
        return _new(Outcome, ("ok", 0, tuple(self.checks), self.source, value, image, 0, self.evidence))

    def refuse(self, code: int) -> Outcome:
        """The last check failed: an errno."""
        return _new(Outcome, ("errno", code, tuple(self.checks), self.source, 0, b"", 0, self.evidence))

    def _outcome(self, verdict: Verdict, code: int = 0, value: int = 0) -> Outcome:
        return Outcome(verdict, code, tuple(self.checks), self.source, value, evidence=self.evidence)

    def short(self, done: int, asked: int) -> Outcome:
        """The last check failed: the call stopped there and says how many it did."""
        return self._outcome("short", asked, done)

    def fault(self, vector: int) -> Outcome:
        """The last check failed: an exception."""
        return self._outcome("exception", vector)

    def fault_at(self, fault: MemoryFaultError) -> Outcome:
        """An access to memory failed: #GP, or #PF with its address."""
        self.check(
            f"the bytes at {fault.address:#x} can be {'written' if fault.error_code & 2 else 'read'}", held=False
        )
        return self._outcome("exception", fault.vector, fault.address)._replace(error_code=fault.error_code)

    def oops(self, vector: int) -> Outcome:
        """The last check failed: an exception in the host's kernel."""
        return self._outcome("host-oops", vector)

    def blocked(self) -> Outcome:
        """The last check failed: here the way ends."""
        return self._outcome("blocked")

    def depends(self, text: str) -> Outcome:
        """The answer hangs on something that nobody said."""
        self.check(f"depends on {text}", held=False)
        return self._outcome("depends-on")

    def signal(self, number: int, si_code: int) -> Outcome:
        """The last check failed: a signal, its ``si_code`` as the value."""
        return self._outcome("signal", number, si_code)
