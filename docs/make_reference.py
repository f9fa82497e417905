"""The reference of the docs site, from the tables that the program itself reads: docs/make_site.py writes it."""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from docs.make_rules import sections
from inspector.capture import errors
from inspector.cli.main import COMMANDS
from inspector.cli.parsers import options_of, parser_of, positionals_of, subparsers_of
from inspector.decode.plans import fixed_specs
from inspector.decode.spec import FieldSpec
from inspector.decode.walk import walk
from inspector.export.kinds import SCHEMAS
from inspector.tui.key import Table
from inspector.tui.keys import HELP, PROMPT, SCREENS, help_of
from layouts.arm64.sysregs import encodings, name_of, register_of
from layouts.registry import layouts
from layouts.vocabulary import Bits, Register
from layouts.x86.cpuid import cpuid_sections
from layouts.x86.msrs import MSR_REGISTERS, msr_name
from layouts.x86.xsave import COMPONENTS

DOCS = Path(__file__).parent
_BITS = "| bits | name | is |\n|---|---|---|"


def cell(text: str) -> str:
    """Text in a table: what Markdown and HTML would take for their own stands as itself."""
    return re.sub(r"([|\\`*_<>\[\]{}$~])", r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """A name or a path, in a table too."""
    return f"`{text}`".replace("|", "\\|")


def components() -> Iterator[str]:
    """Every XSAVE state component with its fields."""
    yield "# XSAVE state components\n\nBytes are counted from the component's own place; where that is, the CPU says.\n"
    yield "| number | name | is | bytes | enabled by |\n|---|---|---|---|---|"
    for each in COMPONENTS:
        kind = "IA32_XSS" if each.supervisor else "XCR0"
        yield f"| {each.number} | {code(each.name)} | {cell(each.title)} | {each.size_bytes} | {kind} |"
    for each in COMPONENTS:
        yield f"\n## {each.number} {each.name}\n\n{cell(each.title)}. {cell(each.source)}.\n"
        if each.construct is not None:
            yield "| offset | bytes | field | is |\n|---|---|---|---|"
            for leaf in walk(each.construct):
                yield f"| {leaf.offset} | {leaf.size_bytes} | {code(leaf.name)} | {cell(leaf.doc)} |"
        for register in each.registers.values():
            yield from _register(register, "###")


def structures() -> Iterator[str]:
    """Every structure with its fields by path, and the bits of its registers."""
    yield "# Structures\n\nOf KVM and of notes in core files: every field by the path that `--field` takes."
    for layout in layouts().values():
        size = int(layout.construct.sizeof())
        yield f"\n## {layout.name}\n\n{cell(layout.title)}: {size} bytes{' and more' if layout.open_ended else ''}."
        yield f"{cell(layout.source)}.\n\n| offset | bytes | path | is |\n|---|---|---|---|"
        specs = fixed_specs(layout.name, layout.prefix, size)
        for spec in specs:
            yield f"| {spec.pieces[0].offset} | {spec.size_bytes} | {code(spec.path)} | {cell(spec.title)} |"
        for register in _registers_of(specs):
            yield from _register(register, "###")


def _registers_of(specs: Iterable[FieldSpec]) -> Iterable[Register]:
    return {spec.register.name: spec.register for spec in specs if spec.register}.values()


def msrs() -> Iterator[str]:
    """Every MSR whose bits are known."""
    yield "# MSRs\n\nThose whose bits are known; `inspector layouts show 0x2030...` names every other one."
    for number, register in sorted(MSR_REGISTERS.items()):
        yield from _register(register._replace(name=f"{number:#x} {msr_name(number)}"), "##")


def cpuid() -> Iterator[str]:
    """Every CPUID bit."""
    yield "# CPUID"
    for (leaf, name), found in sorted(cpuid_sections().items()):
        for section in found:
            first, last = section.subleaves.start, section.subleaves.stop - 1
            place = f"{first:x}" if first == last else f"{first:x} to {last:x}"
            register = Register(f"{leaf:#x} sub-leaf {place} {name}", "", section.bits, section.source)
            yield from _register(register, "##")


def arm64_registers() -> Iterator[str]:
    """Every arm64 system register by its encoding, and the fields of those that have a table."""
    yield "# arm64 system registers\n\n| op0 op1 CRn CRm op2 | register |\n|---|---|"
    ops = sorted(encodings().values())
    for op in ops:
        yield f"| {' '.join(map(str, op))} | {code(name_of(op))} |"
    for op in ops:
        register = register_of(name_of(op))
        if register is not None:
            yield from _register(register, "##")


def _register(register: Register, heading: str) -> Iterator[str]:
    about = ". ".join(cell(text) for text in (register.title, register.source) if text)
    yield f"\n{heading} {register.name}\n\n{about}.\n\n{_BITS}"
    yield from map(_bits, register.bits)


def _bits(bits: Bits) -> str:
    where = str(bits.lsb) if bits.width == 1 else f"{bits.lsb + bits.width - 1}:{bits.lsb}"
    values = "; ".join(f"{value} = {text}" for value, text in bits.values.items())
    return f"| {where} | {code(bits.name)} | {cell('; '.join(filter(None, (bits.meaning, values))))} |"


def answers() -> Iterator[str]:
    """Every error: what the program says of a user's words and files, and what events answer, by answer."""
    yield "# Errors\n\n## Of the program\n\nOne line on standard error, and the exit code.\n"
    yield "| error | exit code | is |\n|---|---|---|"
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.InspectorError):
            about = (kind.__doc__ or "").partition("\n")[0]
            yield f"| {code(name)} | {int(kind.exit_code)} | {cell(about)} |"
    yield "\n## Of the machine\n\nWhich check of which event answers so; [rules](../rules.md) has them in their order."
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for section in sections():
        for row in section.rows:
            if row.answer:
                found[row.answer].append(("; ".join(section.sources) or section.function, row.text))
    for answer, rows in sorted(found.items()):
        yield f"\n### {answer}\n\n| where | does not hold |\n|---|---|"
        for where, text in rows:
            yield f"| {cell(where)} | {text.replace('|', chr(92) + '|')} |"


def commands() -> Iterator[str]:
    """Every command with its arguments."""
    yield "# Commands\n\nWhat a TARGET may be: [targets](../targets.md). The same as inspector(1)."
    for name in COMMANDS:
        parser = parser_of(name)
        yield from _command(parser, "##")
        for one in subparsers_of(parser).values():
            yield from _command(one, "###")
        examples = (parser.epilog or "").partition("targets:\n")[0].strip()
        if examples:
            yield f"\n```text\n{examples}\n```"


def _command(parser: argparse.ArgumentParser, heading: str) -> Iterator[str]:
    formatter = parser._get_formatter()
    yield f"\n{heading} {parser.prog}\n\n{cell(parser.description or '')}\n\n| argument | is |\n|---|---|"
    for action in (*positionals_of(parser), *options_of(parser)):
        if isinstance(action, argparse._HelpAction):
            continue
        value = "|".join(str(choice) for choice in action.choices or () if choice) or action.metavar or action.dest
        names = ", ".join(action.option_strings)
        shown = f"{names} {value}" if names and action.nargs != 0 else names or str(value)
        yield f"| {code(shown)} | {cell(formatter._expand_help(action) if action.help else '')} |"


def keys() -> Iterator[str]:
    """Every key of every screen."""
    yield "# Keys\n\nWhat `?` shows on each screen."
    tables: dict[str, Table] = {name: help_of(name) for name in SCREENS} | {"help": HELP, "prompt": PROMPT}
    for name, table in tables.items():
        yield f"\n## {name}\n\n| keys | do |\n|---|---|"
        for group in table:
            for line in group.lines:
                if line.keys:
                    yield f"| {cell(line.written)} | {cell(line.text)} |"


def json_kinds() -> Iterator[str]:
    """Every kind of JSON answer, its schema, and what prints it."""
    yield "# Kinds of JSON\n\nWhat is in each: [JSON](../json.md).\n\n| kind | schema | printed by |\n|---|---|---|"
    rows = re.findall(r"^\| (`.*?) \| `(\w+)`", (DOCS / "json.md").read_text("utf-8"), re.MULTILINE)
    for kind, schema in SCHEMAS.items():
        by = "; ".join(command for command, printed in rows if printed == kind) or "`show --json`"
        yield f"| {code(kind)} | {schema} | {by} |"


#: The pages by name.
PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "commands": commands,
    "keys": keys,
    "components": components,
    "structures": structures,
    "msrs": msrs,
    "cpuid": cpuid,
    "arm64-registers": arm64_registers,
    "errors": answers,
    "json-kinds": json_kinds,
}


def page(name: str) -> str:
    """One page, in Markdown."""
    return "\n".join(PAGES[name]()).rstrip() + "\n"
