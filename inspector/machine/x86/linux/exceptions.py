"""Exceptions of programs as signals (Linux arch/x86/kernel/traps.c, mm/fault.c)."""

from __future__ import annotations

from inspector.machine.outcome import GP, MF, NM, PF, UD, XM, Outcome
from inspector.machine.x86.linux.process import Thread

#: Numbers of signals (Linux arch/x86/include/uapi/asm/signal.h).
SIGILL, SIGFPE, SIGSEGV = 4, 8, 11
_ILL_ILLOPN, _SEGV_MAPERR, _FPE_FLTDIV, _SI_KERNEL = 2, 1, 3, 0x80
#: Exceptions as signals: number and si_code (idtentry handlers in kernel/traps.c; bad_area in mm/fault.c).
_SIGNALS = {
    UD: (SIGILL, _ILL_ILLOPN),
    NM: (SIGILL, _ILL_ILLOPN),
    GP: (SIGSEGV, _SI_KERNEL),
    PF: (SIGSEGV, _SEGV_MAPERR),
    MF: (SIGFPE, _FPE_FLTDIV),
    XM: (SIGFPE, _FPE_FLTDIV),
}


def signal_of(thread: Thread, outcome: Outcome) -> Outcome:
    """The signal of an exception; the thread keeps its number, and its error code and address."""
    number, si_code = _SIGNALS[outcome.code]
    thread.trap_nr, thread.error_code = outcome.code, outcome.error_code
    thread.fault_address = outcome.value if outcome.code == PF else 0
    return outcome._replace(verdict="signal", code=number, value=si_code, error_code=0)
