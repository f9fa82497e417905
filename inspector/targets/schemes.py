"""The words that a user gives as a TARGET: one table of schemes, and what each can be.

A word gives a capture (:func:`capture_of`), a host (:func:`host_of`) or a lab (:func:`lab_of`). A new scheme is one
entry of :data:`SCHEMES` and one module beside this one; every command takes it then. What an entry names is imported
when it is asked for, so that a word of one architecture loads no machine of the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from stat import S_ISREG

from inspector.capture.errors import UsageError
from inspector.capture.model import Capture
from inspector.readers.options import NO_OPTIONS, Options
from layouts.files import fleet_store
from layouts.light import TYPE_CHECKING, NamedTuple, import_module

if TYPE_CHECKING:
    from typing import Any, Literal, overload

    from inspector.machine.arm64.host import Host as Arm64Host
    from inspector.machine.x86.host import Host as X86Host
    from inspector.targets.labs import Lab

    Architecture = Literal["x86", "arm64"]
else:
    Architecture = str

BOTH: tuple[Architecture, ...] = ("x86", "arm64")
FLEET = "fleet:"


class Scheme(NamedTuple):
    """A kind of word.

    ``prefix`` begins such words: with a colon, or the whole word (``-``), or empty for any. ``form`` and ``about``
    say in help and errors what it is. Functions are written ``module:function``, of this package:

    - ``capture(target, options) -> Capture``; empty where the word is no capture
    - ``host(target, architecture, kernel, options) -> Host``; empty: the host that its capture shows
    - ``lab(target, options) -> Lab``; empty: the lab in which its capture's first vCPU goes on

    ``architectures`` are those whose hosts and vCPUs it can be. ``is_file``: ``--as`` and ``--layout`` say what its
    bytes are. ``opens_lab``: ``open`` shows its lab, not its capture. ``marks`` are bytes by offset: a file that has
    them is of this scheme without its prefix. ``instead`` says what to do with a word that is no capture and no host.
    """

    prefix: str
    form: str
    about: str
    capture: str = ""
    host: str = ""
    lab: str = ""
    architectures: tuple[Architecture, ...] = BOTH
    is_file: bool = False
    opens_lab: bool = False
    marks: tuple[tuple[int, bytes], ...] = ()
    instead: str = ""

    def begins(self, word: str) -> bool:
        """The word is one of this scheme."""
        return word.startswith(self.prefix) if self.prefix.endswith(":") else self.prefix in ("", word)


#: Every scheme; the last is a word without one.
SCHEMES: tuple[Scheme, ...] = (
    Scheme(
        "sample:",
        "sample:NAME",
        "a capture that comes with the tool (inspector samples)",
        capture="samples:capture_of_sample",
        is_file=True,
    ),
    Scheme(
        "sim:",
        "sim:SCENARIO[:HOST]",
        "the simulated machine at the end of a scenario (inspector sim list), on its host or another, "
        "or of a file of events",
        capture="scenarios:capture_of_scenario",
        host="scenarios:host_of_scenario",
        lab="scenarios:lab_of_scenario",
        opens_lab=True,
    ),
    Scheme(
        "model:",
        "model:NAME[:HOST[,HOST]]",
        "the guest of a named CPU model on a host or two: arm64; x86 where a vCPU is to move (inspector models list)",
        capture="models:capture_of_model",
        lab="models:lab_of_model",
        architectures=("arm64",),
        opens_lab=True,
    ),
    Scheme(
        "kvm:",
        "kvm:",
        "the KVM of this machine: what it supports, and a vCPU that is made for it and never runs",
        capture="live.kvm:capture_of_kvm",
        host="live.kvm:host_of_kvm",
        lab="live.kvm:lab_of_kvm",
        opens_lab=True,
    ),
    Scheme(
        "gdb:",
        "gdb:HOST:PORT",
        "every thread behind a gdb stub, also gdb:PATH of its unix socket: stopped, read, resumed",
        capture="live.gdb:capture_of_gdb",
    ),
    Scheme(
        "qmp:",
        "qmp:PATH",
        "a QEMU machine through its monitor, also qmp:HOST:PORT: stopped, read, resumed (needs inspector[qmp])",
        capture="live.qmp:capture_of_qmp",
    ),
    Scheme(
        "pid:",
        "pid:N[/TID]",
        "every thread of a running process, or one: stopped, read, resumed",
        capture="live.pid:capture_of_pid",
    ),
    Scheme(
        FLEET,
        "fleet:FILE",
        "thousands of hosts and guests (inspector fleet add), also a path of such a store; without FILE fleet.db",
        lab="fleet:lab_of_store",
        architectures=(),
        opens_lab=True,
        marks=fleet_store.MARKS,
        instead="a store of thousands: inspector open shows it, inspector fleet asks it (--store FILE)",
    ),
    Scheme(
        "line:",
        "line:FILE:N",
        "the capture in a line of a file that has one a line (inspector fleet add)",
        capture="lines:capture_of_line",
    ),
    Scheme(
        "kept:",
        "kept:FILE:NAME",
        "what a store has of a name: its host, and its guest's CPUID, feature MSRs, ID registers (inspector fleet add)",
        capture="kept:capture_of_kept",
    ),
    Scheme("-", "-", "standard input", capture="files:capture_of_file", is_file=True),
    Scheme(
        "",
        "PATH",
        "a file or a folder; as a host also the name of a known CPU (inspector layouts list)",
        capture="files:capture_of_file",
        host="files:host_of_word",
        is_file=True,
    ),
)

#: By architecture: ``(capture, kernel, options) -> Host``.
_HOST_OF_CAPTURE = {"x86": "x86_named:host_of_capture", "arm64": "arm64_named:host_of_capture"}


def scheme_of(target: str) -> Scheme:
    """The scheme of a word. Raises UsageError for one that begins as a scheme would, and is none and no file."""
    found = next(scheme for scheme in SCHEMES if scheme.begins(target))
    head, colon, _ = target.partition(":")
    if not found.prefix and colon and head.isalpha() and not os.path.lexists(target):
        raise UsageError(f"{target}: no such file, and no scheme {head}:; expected {forms(SCHEMES)}")
    return found if found.prefix else _by_content(target) or found


def _by_content(path: str) -> Scheme | None:
    """The scheme that a file is of by its marks; None for what is no file. A pipe is not read."""
    try:
        if not S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            head = file.read(fleet_store.HEADER_SIZE_BYTES)
    except (OSError, ValueError):
        return None
    marked = (scheme for scheme in SCHEMES if scheme.marks)
    return next((one for one in marked if all(head.startswith(mark, at) for at, mark in one.marks)), None)


def is_target(word: str) -> bool:
    """The word is of a scheme, or a path that exists. Raises UsageError, as ``scheme_of``."""
    return bool(scheme_of(word).prefix) or os.path.lexists(word)


def forms(schemes: Iterable[Scheme]) -> str:
    """How words of these schemes look: ``sample:NAME, - or PATH``."""
    *others, last = [scheme.form for scheme in schemes]
    return f"{', '.join(others)} or {last}" if others else last


def capture_of(target: str, options: Options = NO_OPTIONS) -> Capture:
    """The capture that a word is. Raises UsageError, and InputError when it cannot be read at all."""
    scheme = scheme_of(target)
    if not scheme.capture:
        expected = scheme.instead or f"expected {forms(one for one in SCHEMES if one.capture)}"
        raise UsageError(f"{target}: no capture; {expected}")
    for option, value in (("--layout", options.layout), ("--as", options.as_format)):
        if value and not scheme.is_file:
            raise UsageError(f"{option} {value}: {target} has no bytes to take for it; it goes with a file")
    capture: Capture = _function(scheme.capture)(target, options)
    capture.target = target
    return capture


if TYPE_CHECKING:

    @overload
    def host_of(
        target: str, architecture: Literal["x86"], kernel: str = "", options: Options = NO_OPTIONS
    ) -> X86Host: ...
    @overload
    def host_of(
        target: str, architecture: Literal["arm64"], kernel: str = "", options: Options = NO_OPTIONS
    ) -> Arm64Host: ...


def host_of(target: str, architecture: Architecture, kernel: str = "", options: Options = NO_OPTIONS) -> Any:
    """The host that a word is, on the kernel that ``@RELEASE`` after it or ``kernel`` names.

    Raises UsageError for a word that is none, InputError for a file that is none.
    """
    from inspector.targets.kernels import release_of

    name, release = release_of(target, kernel)
    scheme = require(name, architecture)
    if scheme.host:
        return _function(scheme.host)(target, architecture, kernel, options)
    return _function(_HOST_OF_CAPTURE[architecture])(capture_of(name, NO_OPTIONS), release, options)


def require(target: str, architecture: Architecture) -> Scheme:
    """The scheme of a word. Raises UsageError when it is never of this architecture."""
    scheme = scheme_of(target)
    if architecture not in scheme.architectures:
        able = f"as {forms(one for one in SCHEMES if architecture in one.architectures)} may be"
        raise UsageError(f"{target}: expected an {architecture} host or vCPU, {scheme.instead or able}")
    return scheme


def lab_of(target: str, options: Options = NO_OPTIONS) -> Lab:
    """The lab of a word. Raises UsageError where it has none, and InputError."""
    scheme = scheme_of(target)
    if scheme.lab:
        lab: Lab = _function(scheme.lab)(target, options)
        return lab
    from inspector.targets.labs import lab_of_vcpu

    capture = capture_of(target, options)
    return lab_of_vcpu(capture, capture.vcpus[0] if capture.vcpus else None)


def _function(name: str) -> Callable[..., Any]:
    """What ``module:function`` names in this package."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"inspector.targets.{module}"), function)
    return found
