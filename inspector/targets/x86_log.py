"""The calls of a log beside what the machine would have answered on a host."""

from __future__ import annotations

from typing import NamedTuple

from inspector.capture.calls import Call
from inspector.capture.errors import UsageError
from inspector.capture.model import Capture
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.module import Kvm
from inspector.machine.x86.replay.calls import Compared, Replay
from inspector.readers.logs.passed import passed_by
from inspector.readers.options import NO_OPTIONS, Options
from inspector.targets.kernels import release_of
from inspector.targets.schemes import capture_of, host_of
from inspector.targets.x86_named import host_of_capture


class Comparison(NamedTuple):
    """A log's calls with the machine's answers; ``host`` and ``because`` say on what."""

    capture: Capture
    kernel: str
    because: str
    calls: list[Compared]
    release: str = ""

    @property
    def first(self) -> int | None:
        """The number of the first call, from 1, that was answered otherwise; None: none was."""
        return next((number for number, one in enumerate(self.calls, 1) if one.agrees is False), None)


def compared(target: str, host_name: str, kernel_name: str, options: Options) -> Comparison:
    """A log's calls on a host: the one that is named, else the one whose KVM the log shows.

    Raises UsageError for a log without calls or without a host, and InputError.
    """
    capture = capture_of(target, options)
    if not has_calls(capture):
        raise UsageError(f"--from-log {target}: no calls of KVM in it; strace -f -v -s 4096 -e trace=ioctl shows them")
    return of_capture(capture, host_name, kernel_name, options)


def has_calls(capture: Capture) -> bool:
    """The log tells of calls that KVM and Linux answer, or of events that it traces."""
    return any(call.name.startswith(("KVM_", "ARCH_", "kvm_", "x86_fpu_")) for call in capture.calls)


def of_capture(
    capture: Capture, host_name: str = "", kernel_name: str = "", options: Options = NO_OPTIONS
) -> Comparison:
    """The same of a log that has been read. Raises UsageError for one without a host, and InputError."""
    host, because = _host(capture, host_name, kernel_name, options)
    replay = Replay(Kvm(host), _bytes, stands_in=not host_name)
    return Comparison(capture, host.kernel.title, because, replay.compare(capture.calls), host.kernel.name)


def _host(capture: Capture, host_name: str, kernel_name: str, options: Options) -> tuple[Host, str]:
    name, release = release_of(host_name, kernel_name)
    if name:
        return host_of(name, "x86", release, options), name
    try:
        host = host_of_capture(capture, release, options)
    except UsageError:
        raise UsageError(
            f"--from-log {capture.target}: the log does not tell the host's CPUID; name it with --host"
        ) from None
    because = "what KVM supports, as the log shows it, stands in for the host's CPUID"
    if not any(area.prefix == "supported" for area in capture.context):
        because = "the guest's own CPUID stands in for the host's"
    return host, because


def unasked(capture: Capture, why: str) -> Comparison:
    """The calls of a log alone, none of them asked, for a reason."""
    return Comparison(capture, "no machine", why, [Compared(call, None, why) for call in capture.calls])


def _bytes(call: Call) -> bytes | None:
    """The bytes of the structure that a call passes; None where not all of it is printed."""
    return passed_by(call).data
