"""``inspector layouts``: what the tool knows, with its sources."""

from __future__ import annotations

import re
from collections.abc import Sequence

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.capture.nearest import did_you_mean
from inspector.cli import arguments
from inspector.cli.streams import say, say_json
from inspector.decode.placement import standard_places, table_from_layout
from inspector.decode.plans import fixed_specs
from inspector.decode.walk import walk
from inspector.export.kernels import coming_text, profile_text, profiles_text
from inspector.targets.kernels import kernel_named
from layouts.arm64 import kernels as arm64_kernels
from layouts.arm64.arm_features import feature_named
from layouts.arm64.chips import chips, known_cores
from layouts.coming import NEXT
from layouts.kernels import Kernel
from layouts.registry import layouts
from layouts.vocabulary import Component, CpuLayout, Layout, Register
from layouts.x86 import kernels as x86_kernels
from layouts.x86.cpuid import cpuid_sections
from layouts.x86.cpus import cpu_layouts
from layouts.x86.xsave import COMPONENTS

_EXAMPLES = """\
  inspector layouts list
  inspector layouts show sapphire-rapids
  inspector layouts show xtilecfg
  inspector layouts show kvm-sregs
  inspector layouts show cpuid.7.1
  inspector layouts show 0x603000000013c020
  inspector layouts show 0x2030000300000000
  inspector layouts show ID_AA64PFR0_EL1
  inspector layouts show FEAT_SVE2
  inspector layouts kernels
  inspector layouts kernels 6.17
  inspector layouts kernels next
  inspector layouts kernels 7.2 next
  inspector layouts kernels 6.1 6.18 --cpu sapphire-rapids
  inspector layouts kernels 6.6 6.12 --cpu neoverse-v1"""


def run(words: Sequence[str]) -> int:
    """List the layouts or show one."""
    parser = arguments.parser(
        "layouts", "What the tool knows: structures, XSAVE components, registers, CPUs, kernels.", _EXAMPLES
    )
    parser.add_argument("verb", choices=("list", "show", "kernels"), help="kernels: by release, or what differs")
    parser.add_argument(
        "name",
        nargs="?",
        default="",
        help="a name from the list, a CPUID leaf, an arm64 register, FEAT_X, a KVM id, a release",
    )
    parser.add_argument("newer", nargs="?", default="", metavar="NEWER", help="kernels: the release to upgrade to")
    parser.add_argument(
        "--cpu",
        default="",
        metavar="CPU",
        help="kernels A B: milan, a file with CPUID, neoverse-v1",
    )
    parser.add_argument("--arch", choices=("x86", "arm64"), default="", help="kernels: one architecture")
    parser.add_argument("--json", action="store_true", help="kernels A B: print JSON")
    found = parser.parse_args(words)
    if found.newer and found.verb != "kernels":
        raise UsageError(f"layouts {found.verb} {found.name} {found.newer}: expected one name")
    if found.verb == "list" and found.name:
        raise UsageError(f"layouts list {found.name}: list takes no name; layouts show {found.name}")
    if (found.cpu or found.json) and not found.newer:
        raise UsageError("--cpu and --json: expected layouts kernels OLDER NEWER")
    if found.verb == "list":
        _list()
    elif found.newer:
        _upgrade(found.name, found.newer, found.cpu, found.arch, is_json=found.json)
    elif found.verb == "kernels":
        _kernels(found.name, found.arch)
    else:
        _show(found.name)
    return ExitCode.OK


def _list() -> None:
    say("CPU layouts of XSAVE images (--layout)")
    for cpu in cpu_layouts().values():
        say(f"  {cpu.name:<22} {cpu.title}: {cpu.about}")
    say("", "arm64 CPUs (hosts of models and migrate)")
    for host in (*known_cores(), *chips()):
        say(f"  {host}")
    say("", "XSAVE state components")
    for component in COMPONENTS:
        say(f"  {component.name:<22} {component.number:>2}  {component.title}")
    say("", "Structures (kvm-*: --as)")
    for layout in layouts().values():
        say(f"  {layout.name:<22} {layout.title}")


def _kernels(release: str, only: str) -> None:
    """All profiles, or what one release changed."""
    if release == NEXT:
        say(*coming_text(only))
        return
    for arch, tables in {"x86": x86_kernels, "arm64": arm64_kernels}.items():
        if only not in ("", arch):
            continue
        kernels: Sequence[Kernel] = tuple(tables.kernels().values())
        if not release:
            say(*profiles_text(arch, kernels))
            continue
        kernel: Kernel = kernel_named(tables.profile_for, release, arguments.TOLD.note)
        at = [each.name for each in kernels].index(kernel.name)
        say(*profile_text(arch, kernel, kernels[at - 1] if at else None))


def _upgrade(older: str, newer: str, cpu: str, arch: str, *, is_json: bool) -> None:
    """What guests have otherwise under another kernel, all else the same."""
    from inspector.export import kernel_changes
    from inspector.targets.x86_cpus import cpu_named

    if older == NEXT:
        raise UsageError(f"layouts kernels {older} {newer}: next is no release; expected it as the second")
    if cpu and arch != "x86" and _upgrade_of_arm64(older, newer, cpu, is_json=is_json):
        return
    if cpu and arch == "arm64":
        hint = did_you_mean(cpu, (*known_cores(), *chips()), "inspector layouts list")
        raise UsageError(f"--cpu {cpu}: no arm64 CPU; {hint}")
    x86 = arm64 = None
    if arch != "arm64":
        for release in (older,) if newer == NEXT else (older, newer):
            kernel_named(x86_kernels.profile_for, release, arguments.TOLD.note)
        x86 = kernel_changes.x86_changes(older, newer, cpu_named(cpu) if cpu else None)
    if arch != "x86" and not cpu:
        before, after = (kernel_named(arm64_kernels.profile_for, each, arguments.TOLD.note) for each in (older, newer))
        arm64 = kernel_changes.arm64_text(before, after)
    if is_json:
        say_json(kernel_changes.json_of(older, newer, x86, arm64))
        return
    if x86 is not None:
        say(f"x86: Linux {older} to {newer}, {x86.cpu or 'any CPU'}", *kernel_changes.x86_text(x86))
    if arm64 is not None:
        say(f"arm64: Linux {older} to {newer}", *arm64)
    if newer == NEXT:
        say("not merged: in no line above", *coming_text(arch))


def _upgrade_of_arm64(older: str, newer: str, cpu: str, *, is_json: bool) -> bool:
    """The same for guests of an arm64 CPU; False where the name is none."""
    from inspector.export import kernel_changes

    if cpu in chips():
        cpus = [chips()[cpu].likely]
    elif all(name in known_cores() for name in cpu.split("+")):
        cpus = [known_cores()[name] for name in cpu.split("+")]
    else:
        return False
    before, after = (kernel_named(arm64_kernels.profile_for, each, arguments.TOLD.note) for each in (older, newer))
    if is_json:
        say_json(kernel_changes.arm64_json(cpu, cpus, before, after))
    else:
        say(f"arm64: Linux {older} to {newer}, {cpu}", *kernel_changes.arm64_guest_text(cpus, before, after))
        if newer == NEXT:
            say("not merged: in no line above", *coming_text("arm64"))
    return True


def _show(name: str) -> None:
    components = {component.name: component for component in COMPONENTS}
    components |= {str(component.number): component for component in COMPONENTS}
    if name in cpu_layouts():
        _show_cpu(cpu_layouts()[name])
    elif name in components:
        _show_component(components[name])
    elif name in layouts():
        _show_layout(layouts()[name])
    elif name.upper().startswith("FEAT_") and feature_named(name):
        from inspector.export.arm_features import feature_text

        say(*feature_text(name))
    elif _show_cpuid(name) or _show_register_id(name):
        return
    else:
        hint = did_you_mean(name, [*cpu_layouts(), *components, *layouts()], "inspector layouts list")
        raise UsageError(f"layouts show {name}: no such name; {hint}")


def _show_cpuid(name: str) -> bool:
    """``cpuid.7``, ``cpuid.7.1`` or ``cpuid.7.1.edx``: the bits of a leaf."""
    found = re.fullmatch(r"cpuid\.([0-9a-f]{1,8})(?:\.([0-9a-f]{1,2}))?(?:\.(e[abcd]x))?", name.lower())
    if not found:
        return False
    leaf, subleaf = int(found[1], 16), None if found[2] is None else int(found[2], 16)
    sections = [
        section
        for register in ("eax", "ebx", "ecx", "edx")
        for section in cpuid_sections().get((leaf, register), ())
        if (subleaf is None or subleaf in section.subleaves) and found[3] in (None, register)
    ]
    for section in sorted(sections, key=lambda section: (section.subleaves.start, section.register)):
        first, last = section.subleaves.start, section.subleaves.stop - 1
        say(f"cpuid.{leaf:x}.{first:x}{f'-{last:x}' if last > first else ''}.{section.register}  {section.source}")
        for bits in section.bits:
            place = str(bits.lsb) if bits.width == 1 else f"{bits.lsb + bits.width - 1}:{bits.lsb}"
            values = "; ".join(f"{value} {word}" for value, word in bits.values.items())
            say(f"  {place:>5}  {bits.name:<24} {bits.meaning}{f' ({values})' if values else ''}")
    return bool(sections)


def _show_cpu(cpu: CpuLayout) -> None:
    eax, ebx, ecx, edx = cpu.leaf_0xd[0]
    say(f"{cpu.name}: {cpu.title}", f"  {cpu.about}", f"  source: {cpu.source}")
    say(f"  XCR0 {eax | edx << 32:#x}, standard size {ecx} bytes for all of it, {ebx} as dumped")
    table = table_from_layout(cpu.name)
    names = {component.number: component.name for component in COMPONENTS}
    placed = {place.component: place.offset for place in standard_places(table, 0, 1 << 16)}
    say("  component            offset   size  notes")
    for room in table.rooms:
        offset = f"{placed[room.component]:#x}" if room.component in placed else "-"
        flags = cpu.leaf_0xd[room.component][2]
        notes = [text for bit, text in ((1, "supervisor"), (2, "align 64"), (4, "XFD")) if flags & bit]
        name = names.get(room.component, "?")
        say(f"  {room.component:>2} {name:<16} {offset:>7} {room.size_bytes:>6}  {', '.join(notes)}")


def _show_component(component: Component) -> None:
    say(f"{component.name}: {component.title} (component {component.number})")
    kind = "supervisor (IA32_XSS)" if component.supervisor else "user (XCR0)"
    say(f"  {component.size_bytes} bytes, {kind}", f"  source: {component.source}")
    if component.construct is None:
        say("  in the legacy region; see: layouts show fxsave")
        return
    for leaf in walk(component.construct):
        say(f"  {leaf.offset:>6}  {leaf.size_bytes:>5}  {leaf.name:<20} {leaf.doc}")
    for register in component.registers.values():
        _show_register(register)


def _show_layout(layout: Layout) -> None:
    size = int(layout.construct.sizeof())
    more = " and more" if layout.open_ended else ""
    say(f"{layout.name}: {layout.title}", f"  {size} bytes{more}", f"  source: {layout.source}")
    shown: dict[str, Register] = {}
    for spec in fixed_specs(layout.name, layout.prefix, size):
        say(f"  {spec.pieces[0].offset:>6}  {spec.size_bytes:>5}  {spec.path:<28} {spec.title}")
        if spec.register:
            shown[spec.register.name] = spec.register
    for register in shown.values():
        _show_register(register)


def _show_register_id(name: str) -> bool:
    """A KVM register id (0x6030...), or a system register of arm64 by name or as S3_0_C0_C4_0."""
    from layouts.arm64 import kvm_ids, sysregs
    from layouts.kvm_ids import architecture_name, explain, kind
    from layouts.x86.kvm_ids import msr_number
    from layouts.x86.msrs import MSR_REGISTERS

    if name.lower().startswith("0x"):
        try:
            register_id = int(name, 16)
        except ValueError:
            return False
    else:
        found = kvm_ids.id_of_name(name)
        if found is None:
            return False
        register_id = found
    known = explain(register_id)
    say(f"{known.path}: {known.title}")
    where = architecture_name(register_id) or "no architecture of KVM"
    say(f"  KVM id {register_id:#018x}: {where}, {known.size_bytes} bytes, {kind(register_id)}")
    msr = msr_number(register_id)
    register = sysregs.register_of(known.name) if known.name else (MSR_REGISTERS.get(msr) if msr is not None else None)
    if register is not None:
        _show_register(register)
    return True


def _show_register(register: Register) -> None:
    say("", f"  {register.name}: {register.title}  ({register.source})")
    for bits in register.bits:
        where = f"{bits.lsb}" if bits.width == 1 else f"{bits.lsb + bits.width - 1}:{bits.lsb}"
        named = ", ".join(f"{value} = {text}" for value, text in bits.values.items())
        say(f"    {where:>6}  {bits.name:<18} {bits.meaning}{f' ({named})' if named else ''}")
