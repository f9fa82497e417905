"""The characters of recorded sweeps: one answer each."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

from inspector.machine.answer import Agreed, Answer
from inspector.machine.outcome import Outcome

#: Accepted: reads back as written, as the base value, as something else; time; cannot be read back.
SAME, BASE, OTHER, TIME, UNREAD = "0wxvg"
ACCEPTED = frozenset("0wxvgE4")
#: KVM_SET_MSRS returned 0.
REFUSED_MSR = "r"
NOT_TRIED = "-"
_CODES = {
    errno.EPERM: "p",
    errno.ENOENT: "n",
    errno.EINTR: "S",
    errno.EIO: "I",
    errno.ENXIO: "y",
    errno.E2BIG: "B",
    errno.ENOEXEC: "e",
    errno.EBADF: "F",
    errno.EAGAIN: "A",
    errno.ENOMEM: "m",
    errno.EFAULT: "f",
    errno.EBUSY: "b",
    errno.EEXIST: "E",
    errno.ENODEV: "d",
    errno.EINVAL: "i",
    errno.ENOTTY: "t",
    errno.ENOSYS: "u",
    errno.EOPNOTSUPP: "o",
}


def char_of(outcome: Outcome) -> str:
    """The character of an ioctl's answer before anything is read back."""
    return SAME if outcome.accepted else char_of_errno(outcome.code)


def char_of_errno(code: int) -> str:
    """An errno's character, ``0`` for none."""
    return SAME if not code else _CODES.get(code, "?")


def expand(text: str, count: int) -> str:
    """A sweep's characters: a string of equal ones is recorded as one."""
    return text * count if len(text) == 1 and count > 1 else text


def shortened(text: str) -> str:
    """How the recorder writes a sweep."""
    return text[0] if len(text) > 1 and text == text[0] * len(text) else text


def masks(bits: Sequence[int]) -> list[int]:
    """Every subset of some bits, counted up."""
    found = [0]
    for bit in bits:
        found += [mask | 1 << bit for mask in found]
    return found


def compare(kind: str, record: str, recorded: str, predicted: str, because: object = "") -> Iterator[Answer | Agreed]:
    """Every character of a sweep is an answer. ``because`` is a text, or one for each character."""
    recorded = expand(recorded, len(predicted))
    pairs = [pair for pair in zip(recorded, predicted, strict=True) if pair[0] != NOT_TRIED]
    wrong = [at for at, (mine, theirs) in enumerate(zip(recorded, predicted, strict=True)) if mine != theirs]
    accepted = sum(kernel in ACCEPTED for kernel, machine in pairs if kernel == machine)
    agreed = sum(kernel == machine for kernel, machine in pairs)
    if agreed:
        yield Agreed(kind, accepted, agreed - accepted)
    for at in wrong:
        if recorded[at] == NOT_TRIED:
            continue
        why = because if isinstance(because, str) else because[at]  # type: ignore[index]
        yield Answer(kind, f"{record} [{at}]", recorded[at], predicted[at], recorded[at] in ACCEPTED, why)
