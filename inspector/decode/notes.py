"""What a capture as a whole says about single fields: how far a value can be trusted, what a bit means there."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.capture.model import Area, Capture, Vcpu
from inspector.decode.dropped import DroppedBytes
from inspector.decode.fields import FieldTable
from inspector.decode.header import xstate_bv
from inspector.decode.placement import places
from inspector.decode.spec import Span
from layouts.files.elf import NT_X86_XSTATE
from layouts.light import NamedTuple
from layouts.x86.xsave import BY_NUMBER, PKRU


class Note(NamedTuple):
    """A remark on a field. ``brief`` is a word or two for a list; empty where a list has nothing to say."""

    text: str
    source: str
    brief: str = ""


_STALE_PKRU = Note(
    "may be stale: Linux 5.14 and later write thread.pkru, which only a context switch stores. If a process of one "
    "thread set PKRU and died without a switch, this is the value from before",
    "Linux arch/x86/kernel/fpu/xstate.c, copy_xstate_to_uabi_buf; arch/x86/kernel/process_64.c, x86_pkru_load",
    "may be stale",
)
#: The first release that keeps PKRU in thread.pkru and not in the task's XSAVE image.
_THREAD_PKRU = (5, 14)
_XINUSE = Note(
    "XINUSE of the thread when it was dumped. A bit stays set once the component is used, whatever the component holds",
    "Intel SDM vol. 1, 13.6; Linux arch/x86/kernel/fpu/xstate.c, copy_xstate_to_uabi_buf",
)


def notes_of(capture: Capture, vcpu: Vcpu) -> Mapping[str, Note]:
    """The remarks on fields of a vCPU, by path. They follow from the capture alone, edits of it included."""
    notes: dict[str, Note] = {}
    if vcpu.arch != "x86":
        return notes
    for area in vcpu.areas:
        if _is_regset(area):
            notes |= _in_use(area)
            if _is_dumping_thread(capture, vcpu):
                notes |= _stale_pkru(area)
    return notes


def _is_regset(area: Area) -> bool:
    """The note NT_X86_XSTATE of a Linux process, from whatever file it is read now."""
    owner, number = area.attributes.get("note_owner"), area.attributes.get("note_type")
    return area.layout == "xsave" and (owner, number) == ("LINUX", NT_X86_XSTATE)


def _is_dumping_thread(capture: Capture, vcpu: Vcpu) -> bool:
    """Whether the kernel read the registers from within the thread that died, and waited for no other thread.

    The kernel dumps because of a signal, which is in pr_cursig; gdb writes cores of threads that it stopped, which
    is a switch. With more threads the dump waits until all others have ended (fs/coredump.c, coredump_wait).
    """
    if capture.host.kernel:
        from layouts.kernels import release_numbers

        release = release_numbers(capture.host.kernel)
        if release is not None and release < _THREAD_PKRU:
            return False
    if len(capture.vcpus) != 1 or any(_owner(area) == "GDB" for area in (*capture.context, *vcpu.areas)):
        return False
    signals = [FieldTable(area).get("prstatus.cursig") for area in vcpu.areas if _owner(area) == "CORE"]
    return any(field is not None and field.value for field in signals)


def _owner(area: Area) -> str:
    return area.attributes.get("note_owner", "")


def _stale_pkru(area: Area) -> dict[str, Note]:
    """PKRU, unless XSTATE_BV says that the register was 0 when the image was saved."""
    placed = {place.component for place in places(area.data, area.declared_size_bytes, area.attributes["table"])}
    in_use = (xstate_bv(area.data) or 0) >> PKRU & 1
    return {f"{area.prefix}.pkru.pkru": _STALE_PKRU} if PKRU in placed and in_use else {}


def _in_use(area: Area) -> dict[str, Note]:
    """XSTATE_BV, and the bits of components that are in use and hold nothing but their initial value."""
    bits, zero, dropped = xstate_bv(area.data), [], DroppedBytes(area)
    if bits is None:
        return {}
    for place in places(area.data, area.declared_size_bytes, area.attributes["table"]):
        held = bytes(area.data[place.offset : place.offset + place.size_bytes])
        if dropped.kind([Span(place.offset, place.size_bytes)]):
            continue
        if bits >> place.component & 1 and len(held) == place.size_bytes and not any(held):
            component = BY_NUMBER.get(place.component)
            zero.append(component.name if component else f"component{place.component}")
    said = f"; {', '.join(zero)} {'is' if len(zero) == 1 else 'are'} in use and zero, which is normal" if zero else ""
    note = _XINUSE._replace(text=_XINUSE.text + said)
    facts = area.prefix.replace("xsave", "xstate")
    return {f"{area.prefix}.header.xstate_bv": note} | {f"{facts}.{name}.in_use": _XINUSE for name in zero}
