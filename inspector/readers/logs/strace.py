"""``strace -e trace=ioctl,arch_prctl`` of a VMM: its calls of KVM, and the state that they set.

With ``-v -s 4096`` strace prints CPUID tables, general and segment registers whole; of other calls it prints the
address of what is passed, so their bytes are not in the log. Thread numbers (``-f``), times (``-t``, ``-r``,
``-T``), descriptors' names (``-y``) and raw numbers (``-e raw=ioctl``) are read too; calls that were interrupted are
put together again.

Source: strace 6.1, src/kvm.c (print_kvm_*), src/ioctl.c, src/prctl.c; measured on Linux 6.18.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from inspector.capture.calls import Call
from inspector.capture.errors import InputError
from inspector.readers.logs.found import Found, Line
from inspector.readers.logs.printed import UnclearError, arguments
from inspector.readers.logs.vcpu_life import lives_of
from layouts.kvm_ioctls import KVMIO, ioctl_of

_WHO = r"(?:\[pid +(?P<pid>\d{1,10})\] |(?:^|(?<=\s))(?P<tid>\d{1,10}) +)?"
_TIME = r"(?:[\d:]{1,12}(?:\.\d{1,9})? +)?(?:\(\+ *[\d.]{1,20}\) +)?"
_CALL = re.compile(rf"{_WHO}{_TIME}(?P<name>ioctl|arch_prctl)\((?P<rest>.*)$")
_RESUMED = re.compile(rf"{_WHO}{_TIME}<\.\.\. (?P<name>ioctl|arch_prctl) resumed>(?P<rest>.*)$")
_UNFINISHED = re.compile(r" *<unfinished \.\.\.>.*$")
_ANSWER = re.compile(
    r"\) *= (?P<result>0x[0-9a-f]{1,16}|-?\d{1,20}|\?)(?:<(?P<what>[^>]{0,200})>)?"
    r"(?: (?P<error>E[A-Z0-9]{1,20}))?(?P<more>.*)$"
)
_DESCRIPTOR = re.compile(r"(?P<number>0x[0-9a-f]{1,8}|-?\d{1,10})(?:<(?P<what>[^>]{0,200})>)?, *")
_REQUEST = re.compile(r"(?P<request>_IOC\([^()]*\)|[^,()]{1,200})(?:, *|$)")
_IOC = re.compile(r"_IOC\(([_A-Z0-9|]+), 0x([0-9a-f]{1,2}), 0x([0-9a-f]{1,2}), (0x[0-9a-f]{1,4}|0)\)")
_DIRECTIONS = {"_IOC_NONE": 0, "_IOC_WRITE": 1, "_IOC_READ": 2}
_OFFSET = re.compile(r"^\d+ ")
#: What a request is called that has no name here, before its number.
_UNNAMED = "ioctl_"
#: Calls of one thread that wait for their end.
_MOST_WAITING = 4096


def read(lines: Sequence[Line], file: str) -> Found:
    """Calls in the order of their ends, and each vCPU with the state that was last set or read."""
    faults: list[InputError] = []
    calls = [call for call in _calls(lines, file, faults) if _is_of_kvm(call)]
    states, context, cpuid, notices = lives_of(calls, file)
    return Found(states, context, calls, notices, faults[:8], cpuid)


def _is_of_kvm(call: Call) -> bool:
    if call.name.startswith(_UNNAMED):
        return int(call.name.removeprefix(_UNNAMED), 16) >> 8 & 0xFF == KVMIO
    return call.name.startswith(("KVM_", "ARCH_REQ_XCOMP", "ARCH_GET_XCOMP"))


def _calls(lines: Sequence[Line], file: str, faults: list[InputError]) -> Iterator[Call]:
    waiting: dict[str, str] = {}
    for line in lines:
        if "ioctl" not in line.text and "arch_prctl" not in line.text:
            continue
        resumed = _RESUMED.search(line.text)
        found = resumed or _CALL.search(line.text)
        if not found:
            continue
        who = found["pid"] or found["tid"] or ""
        rest = waiting.pop(who, "") + found["rest"] if resumed else found["rest"]
        if _UNFINISHED.search(rest):
            if len(waiting) < _MOST_WAITING:
                waiting[who] = _UNFINISHED.sub("", rest)
            continue
        answer = _ANSWER.search(rest)
        if not answer:
            continue
        try:
            yield _call(line.offset, who, found["name"], rest[: answer.start()], answer)
        except UnclearError as error:
            faults.append(InputError(file, "arguments as strace prints them", f"{error}", line.offset))


def _call(offset: int, who: str, function: str, text: str, answer: re.Match[str]) -> Call:
    descriptor, name, rest = -1, "", text
    if function == "ioctl":
        on = _DESCRIPTOR.match(text)
        if not on:
            raise UnclearError(text[:20])
        descriptor = int(on["number"], 16 if on["number"].startswith("0x") else 10)
        rest = text[on.end() :]
    request = _REQUEST.match(rest)
    if not request:
        raise UnclearError(rest[:20])
    name, rest = _named(request["request"].strip()), rest[request.end() :].strip()
    given = arguments(rest)
    result = None if answer["result"] == "?" else int(answer["result"], 16 if answer["result"].startswith("0x") else 10)
    more = re.search(r"\((KVM_EXIT_\w{1,40})\)", answer["more"])
    words = f"{name}({rest})" + (f" {more[1]}" if more else "")
    return Call(
        offset, who, descriptor, name, words, given[0] if len(given) == 1 else given, result, answer["error"] or ""
    )


def _named(request: str) -> str:
    """The request's name: of alternatives the first of KVM, of a number the one that has it."""
    number: int | None = None
    made = _IOC.match(request)
    if made:
        direction = sum(_DIRECTIONS.get(word, 0) for word in made[1].split("|"))
        number = direction << 30 | int(made[4], 16) << 16 | int(made[2], 16) << 8 | int(made[3], 16)
    elif re.fullmatch(r"0x[0-9a-f]{1,8}", request):
        number = int(request, 16)
    known = ioctl_of(number) if number is not None else None
    if known is not None:
        return known.name
    if number is not None:
        return f"{_UNNAMED}{number:#x}"
    names = request.split(" or ")
    return next((name for name in names if name.startswith("KVM_")), names[0]).split(" ")[0]
