"""A C program that makes the calls of a log up to one that was refused, with the same bytes, and tells what came of it.

Only numbers and names that are ours go into it: nothing of a log's text, and no path. A call whose bytes the log does
not have is told in a comment and left out; a refused call without its bytes cannot be reproduced.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from inspector.capture.calls import Call
from inspector.capture.errors import UsageError
from inspector.readers.logs.passed import Passed
from layouts.kvm_ioctls import Ioctl, ioctl_of, ioctls

#: Calls that only read: left out unless they are the refused one.
_READS = ("KVM_GET_", "KVM_CHECK_EXTENSION", "ARCH_GET_")
#: arch_prctl's numbers (arch/x86/include/uapi/asm/prctl.h).
_PRCTLS = {
    "ARCH_GET_XCOMP_PERM": 0x1022,
    "ARCH_REQ_XCOMP_PERM": 0x1023,
    "ARCH_GET_XCOMP_GUEST_PERM": 0x1024,
    "ARCH_REQ_XCOMP_GUEST_PERM": 0x1025,
}
_MAKERS = {"KVM_CREATE_VM": "vm", "KVM_CREATE_VCPU": "vcpu"}
_BYTES_A_LINE = 12


class Made(NamedTuple):
    """A call to be made: its number in the log from 1, and what it passes."""

    number: int
    call: Call
    passed: Passed


def refused_call(calls: Sequence[Call], wanted: int | None) -> int:
    """The index of the refused call to reproduce: the one wanted, from 1, or the last. Raises UsageError for none."""
    if wanted is not None:
        if not 1 <= wanted <= len(calls) or not calls[wanted - 1].error:
            raise UsageError(f"--call {wanted}: no refused call has this number; there are {_numbers(calls)}")
        return wanted - 1
    refused = [n for n, call in enumerate(calls) if call.error and request_of(call) is not None]
    if not refused:
        raise UsageError("no call of KVM in this log was refused")
    return refused[-1]


def _numbers(calls: Sequence[Call]) -> str:
    refused = [str(number) for number, call in enumerate(calls, 1) if call.error]
    return ", ".join(refused[:12]) + (", ..." if len(refused) > 12 else "") if refused else "none"


def request_of(call: Call) -> int | None:
    """The number of a call's request; None for what is no call."""
    if call.name in _PRCTLS:
        return _PRCTLS[call.name]
    known = ioctls().get(call.name)
    if known is not None:
        return known.request
    digits = call.name.removeprefix("ioctl_0x")
    return int(digits, 16) if digits != call.name else None


def needed(made: Sequence[Made]) -> tuple[list[Made], list[Made]]:
    """The calls to make, the last of them the refused one; and those that cannot be made. Raises UsageError.

    VMs and vCPUs are made where the log makes them. What other descriptors got, and what only reads, is left out.
    """
    last = made[-1]
    if not hasattr(errno, last.call.error):
        raise UsageError(f"call {last.number}, {last.call.name}: no program is told {last.call.error}")
    if not last.passed.is_known:
        raise UsageError(f"call {last.number}, {last.call.name}: its bytes are not in the log (strace -v prints more)")
    kept: list[Made] = []
    without: list[Made] = []
    for one in made[:-1]:
        if one.call.error or one.call.name == "KVM_RUN" or one.call.name.startswith(_READS):
            continue
        if request_of(one.call) is not None:
            (kept if one.passed.is_known else without).append(one)
    kept.append(last)
    owners = _owners(kept)
    mine = _family(last.call.descriptor, owners)
    related = [one for one in kept if one.call.name in _PRCTLS or _belongs(one, mine)]
    if last.call.descriptor not in mine and last.call.name not in _PRCTLS and last.call.descriptor >= 0:
        raise UsageError(f"call {last.number}, {last.call.name}: the log does not show how its descriptor was made")
    return related, [one for one in without if one.call.descriptor in mine]


def _owners(made: Sequence[Made]) -> dict[int, int]:
    """Descriptors that were made -> of which."""
    return {
        one.call.result: one.call.descriptor for one in made if one.call.name in _MAKERS and one.call.result is not None
    }


def _family(descriptor: int, owners: Mapping[int, int]) -> set[int]:
    """A descriptor, and those from which it was made. /dev/kvm is the one that is not made."""
    found = {descriptor}
    while descriptor in owners and owners[descriptor] not in found:
        descriptor = owners[descriptor]
        found.add(descriptor)
    return found


def _belongs(one: Made, mine: set[int]) -> bool:
    return one.call.descriptor in mine and (
        one.call.name not in _MAKERS or one.call.result in mine or bool(one.call.error)
    )


def program(made: Sequence[Made], without: Sequence[Made]) -> Iterator[str]:
    """The lines of the program; the last call is the refused one."""
    last = made[-1]
    expected = getattr(errno, last.call.error)
    yield from _HEAD.format(name=_plain(last.call), number=last.number, error=last.call.error).splitlines()
    for text in (INCLUDES, OPEN_KVM, _TOLD):
        yield from text.splitlines()
    for one in made:
        if one.passed.data is not None:
            yield from _array(one)
    yield ""
    yield "int main(void)"
    yield "{"
    there = {one.call.result for one in made if one.call.name in _MAKERS and not one.call.error}
    used = {one.call.descriptor for one in made if one.call.descriptor >= 0} | there
    for descriptor in sorted(number for number in used if number is not None):
        yield f"    int fd{descriptor} = {'-1' if descriptor in there else 'open_kvm()'};"
    yield "    long result;"
    yield ""
    for one in made:
        yield from _statement(one, is_last=one is last, without=without)
    yield from _TAIL.format(error=last.call.error, expected=expected).splitlines()


def _array(one: Made) -> Iterator[str]:
    data = one.passed.data or b""
    yield from array_of(
        f"bytes{one.number}", f"What call {one.number}, {_plain(one.call)}, passes: {len(data)} bytes.", data
    )


def array_of(name: str, about: str, data: bytes) -> Iterator[str]:
    """An array of bytes in C; the zeroes at its end are the compiler's."""
    yield ""
    yield f"/* {about} */"
    yield f"static unsigned char {name}[{max(1, len(data))}] __attribute__((aligned(64))) = {{"
    told = data.rstrip(b"\0") or data[:1] or b"\0"
    for at in range(0, len(told), _BYTES_A_LINE):
        yield "    " + " ".join(f"{byte:#04x}," for byte in told[at : at + _BYTES_A_LINE])
    yield "};"


def _statement(one: Made, *, is_last: bool, without: Sequence[Made]) -> Iterator[str]:
    call, number = one.call, one.number
    for other in without:
        if is_last:
            yield f"    /* Left out: call {other.number}, {_plain(other.call)}; the log does not have its bytes. */"
    argument = f"bytes{number}" if one.passed.data is not None else f"{one.passed.number or 0:#x}UL"
    request = request_of(call) or 0
    if call.name in _PRCTLS:
        made = f"syscall(SYS_arch_prctl, {request:#x} /* {call.name} */, {argument})"
    else:
        on = f"fd{call.descriptor}" if call.descriptor >= 0 else str(call.descriptor)
        made = f"ioctl({on}, {request:#x}UL /* {_plain(call)} */, {argument})"
    if is_last:
        yield "    errno = 0;"
        yield f"    result = {made};"
    elif call.name in _MAKERS and call.result is not None:
        yield f'    fd{call.result} = (int)told({number}, "{_plain(call)}", {made});'
        yield f"    if (fd{call.result} < 0)"
        yield "        return 2;"
    else:
        yield f'    told({number}, "{_plain(call)}", {made});'


def _plain(call: Call) -> str:
    """A name of ours for the request, never the log's words."""
    if call.name in _PRCTLS:
        return call.name
    known: Ioctl | None = ioctls().get(call.name) or ioctl_of(request_of(call) or 0)
    return known.name if known is not None else "a request without a name here"


_HEAD = """\
/*
 * Call {number} of a log, {name}, was refused with {error}. This program makes the calls that led to it, with the same
 * bytes, and tells whether it is refused here too: exit code 0 when it is, 1 when not, 2 when it could not be tried.
 *
 * cc -o case case.c && ./case
 */"""

INCLUDES = """\
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>"""

#: Opens /dev/kvm, or ends the program with 2.
OPEN_KVM = """
static inline int open_kvm(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        printf("/dev/kvm: %s\\n", strerror(errno));
        exit(2);
    }
    return fd;
}"""

_TOLD = """
static inline long told(int number, const char *name, long result)
{
    if (result < 0)
        printf("call %d, %s: %s, which the log's was not\\n", number, name, strerror(errno));
    return result;
}"""

_TAIL = """\
    int error = result < 0 ? errno : 0;

    if (error)
        printf("refused: %s (%d)\\n", strerror(error), error);
    else
        printf("not refused: %ld\\n", result);
    printf("the log's: {error} ({expected})\\n");
    return error != {expected};
}}"""
