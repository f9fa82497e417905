"""The checks of every event, read from the machine's functions: the syntax tree alone, nothing is run.

Nothing here knows a rule. A function that makes a ``Rule`` is an event; its ``rule.check(...)`` calls, those of the
functions that it hands the rule to, and what it answers next are the rows.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from layouts.arm64.kernels import Arm64Kernel
from layouts.x86.kernels import X86Kernel

ROOT = Path(__file__).parents[1]
MACHINE = ROOT / "inspector/machine"
#: Rooms with no rule of their own: recorded answers, questions to the rules, the view of a lab.
_NO_RULES = ("replay", "models", "matrix.py", "outcome.py", "__init__.py")
#: What stands in a text for a value that is known when the rule runs.
HOLE = "…"
_SWITCHES = {each for kind in (X86Kernel, Arm64Kernel) for each in kind.field_names()} - {"registers", "fields"}
#: What of a host other than its kernel switches a check: recorded silicon and an emulator differ.
_OF_HOST = {"emulated"}
_FAULT_AT = "#GP or #PF"
#: Before the names of arm64's exceptions.
_ESR = "ESR_"
_SHORT = "fewer are done"


@dataclass(frozen=True)
class Row:
    """A check: what holds, what is answered where it does not, the fields of a kernel profile that switch it."""

    text: str
    answer: str = ""
    switches: tuple[str, ...] = ()
    is_told: bool = False


@dataclass
class Section:
    """An event: its sources, the function, the rows in order."""

    module: str
    function: str
    about: str
    sources: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """One more check, unless it was the last one already (two branches that make the same)."""
        if row not in self.rows[-1:]:
            self.rows.append(row)


@dataclass
class Module:
    """A file: its functions by qualified name, tables of functions, strings, and where imported names are from."""

    path: Path
    about: str
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    tables: dict[str, list[str]] = field(default_factory=dict)
    strings: dict[str, str] = field(default_factory=dict)
    #: ``Refusal("...")`` by name: why an MSR is not set or read.
    refusals: dict[str, ast.Call] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The module's dotted name."""
        return ".".join(self.path.relative_to(ROOT).with_suffix("").parts)


@cache
def modules() -> dict[str, Module]:
    """The files with rules, by name."""
    found = {}
    for path in sorted(MACHINE.rglob("*.py")):
        if not set(_NO_RULES) & {path.name, *path.parts}:
            module = _module(path)
            found[module.name] = module
    return found


def _module(path: Path) -> Module:
    tree = ast.parse(path.read_text())
    module = Module(path, (ast.get_docstring(tree) or "").partition("\n")[0])
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module.imported[alias.asname or alias.name] = (node.module or "", alias.name)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            module.functions[node.name] = node
        elif isinstance(node, ast.ClassDef):
            methods = (each for each in node.body if isinstance(each, ast.FunctionDef))
            module.functions |= {f"{node.name}.{each.name}": each for each in methods}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                _constant(module, target.id, node.value)
    return module


def _constant(module: Module, name: str, value: ast.expr) -> None:
    if isinstance(value, ast.Dict):
        named = (each for part in value.values for each in ast.walk(part) if isinstance(each, ast.Name))
        module.tables[name] = [each.id for each in named]
    elif isinstance(value, ast.Constant) and isinstance(value.value, str):
        module.strings[name] = value.value
    elif isinstance(value, ast.Call) and ast.unparse(value.func) == "Refusal":
        module.refusals[name] = value


class Reader:
    """Reads one function, and what it hands its rule to, into a section."""

    def __init__(self, known: Mapping[str, Module], module: Module, section: Section) -> None:
        self.known = known
        self.module = module
        self.section = section
        #: Local names: the switches in their value, the literals they go through, the table they come from.
        self._switches: dict[str, tuple[str, ...]] = {}
        self._texts: dict[str, list[ast.expr]] = {}
        self._tables: dict[str, list[str]] = {}
        #: A parameter's name and what was given for it, where an answer is that.
        self._given: dict[str, ast.expr] = {}
        #: The expression that is read is what the function returns: another function's answer.
        self._is_returned = False
        self._stack: tuple[tuple[str, str], ...] = ()
        self.inlined: set[tuple[str, str]] = set()
        self.dispatched: dict[tuple[str, str], Section] = {}

    def statements(self, body: Sequence[ast.stmt], under: tuple[str, ...] = ()) -> None:
        """Statements in order; ``under`` are the switches that they hang on."""
        for node in body:
            if isinstance(node, (ast.If, ast.While)):
                self.expression(node.test, under)
                inner = _joined(under, self.switches(node.test) if not _makes_checks(node.test) else ())
                self.statements(node.body, inner)
                self.statements(node.orelse, inner)
            elif isinstance(node, ast.For):
                self._loop(node)
                self.expression(node.iter, under)
                self.statements(node.body, _joined(under, self.switches(node.iter)))
            elif isinstance(node, (ast.With, ast.Try)):
                self.statements(node.body, under)
                for handler in getattr(node, "handlers", ()):
                    self.statements(handler.body, under)
            elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
                self._assign(node, under)
            elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                if ast.unparse(node.exc.func) == "MemoryFaultError":
                    self._answer("fault", node.exc)
            elif isinstance(node, (ast.Return, ast.Expr)) and node.value is not None:
                self._is_returned = isinstance(node, ast.Return)
                self.expression(node.value, under)
                self._is_returned = False

    def _assign(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, under: tuple[str, ...]) -> None:
        if node.value is None:
            return
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
        paths = [ast.unparse(target) for target in targets]
        if "rule.source" in paths or any("rule.source" in path for path in paths):
            value = node.value.elts[0] if isinstance(node.value, ast.Tuple) else node.value
            self._source(value)
        made_elsewhere = "rule" in names and isinstance(node.value, ast.Call) and not _is_rule(node.value)
        if made_elsewhere:
            self._hand_to(node.value, under)  # type: ignore[arg-type]
        else:
            self.expression(node.value, under)
        for name in names:
            self._switches[name] = self.switches(node.value)
            if isinstance(node.value, (ast.List, ast.Tuple)):
                self._texts[name] = node.value.elts
            table = [each.id for each in ast.walk(node.value) if isinstance(each, ast.Name)]
            found = next((self.module.tables[each] for each in table if each in self.module.tables), None)
            if found is not None:
                self._tables[name] = found

    def _loop(self, node: ast.For) -> None:
        """``for text, held in checks``: what ``text`` is, one after the other."""
        source = node.iter
        over = next((self._texts[each.id] for each in ast.walk(source) if isinstance(each, ast.Name)
                     and each.id in self._texts), None)  # fmt: skip
        over = source.elts if isinstance(source, (ast.List, ast.Tuple)) else over
        if over is not None and isinstance(node.target, ast.Tuple):
            for at, target in enumerate(node.target.elts):
                if isinstance(target, ast.Name):
                    self._texts[target.id] = [each.elts[at] for each in over if isinstance(each, ast.Tuple)]

    def expression(self, node: ast.expr, under: tuple[str, ...]) -> None:
        """An expression in the order in which it is evaluated."""
        if isinstance(node, (ast.BoolOp, ast.IfExp)):
            parts = node.values if isinstance(node, ast.BoolOp) else [node.test, node.body, node.orelse]
            for part in parts:
                self.expression(part, under)
                under = _joined(under, () if _makes_checks(part) else self.switches(part))
            return
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "errno":
            self._answered(node.attr)
            return
        if isinstance(node, ast.Lambda):
            self.expression(node.body, under)
            return
        if isinstance(node, ast.Name) and (refusal := self._refusal(node.id)) is not None:
            self._refused(refusal)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.expression(child, under)
            elif isinstance(child, ast.keyword):
                self.expression(child.value, under)
        if isinstance(node, ast.Call):
            self._call(node, under)

    def _call(self, node: ast.Call, under: tuple[str, ...]) -> None:
        function = node.func
        if _is_rule(node):
            self._source(node.args[0])
        elif ast.unparse(function) == "Refusal":
            self._refused(node)
        elif isinstance(function, ast.Attribute) and ast.unparse(function.value) == "rule":
            if function.attr == "check":
                self._check(node, under)
            else:
                self._answer(function.attr, node)
        elif any(ast.unparse(each) == "rule" or _is_rule(each) for each in node.args):
            self._hand_to(node, under)

    def _check(self, node: ast.Call, under: tuple[str, ...]) -> None:
        held = node.args[1] if len(node.args) > 1 else node.keywords[0].value
        told = isinstance(held, ast.Constant) and held.value is True
        switches = _joined(under, self.switches(held))
        for text in self._texts_of(node.args[0]):
            self.section.add(Row(text, "", switches, told))

    def _refusal(self, name: str) -> ast.Call | None:
        where, there = self.module.imported.get(name, (self.module.name, name))
        return self.known[where].refusals.get(there) if where in self.known else None

    def _refused(self, node: ast.Call) -> None:
        """A reason for which an MSR is not set or not read: the count of the call ends there."""
        self.section.add(Row(re.sub(r"\{[^}]*\}", HOLE, self._text(node.args[0])), _SHORT))

    def _texts_of(self, node: ast.expr) -> list[str]:
        if isinstance(node, ast.Name) and node.id in self._texts:
            return [text for each in self._texts[node.id] for text in self._texts_of(each)]
        if isinstance(node, ast.IfExp):
            return self._texts_of(node.body) + self._texts_of(node.orelse)
        return [self._text(node)]

    def _text(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant):
            return str(node.value)
        if isinstance(node, ast.JoinedStr):
            return "".join(self._text(each) for each in node.values)
        if isinstance(node, ast.FormattedValue):
            known = isinstance(node.value, ast.Name) and isinstance(self._given.get(node.value.id), ast.Constant)
            return self._text(node.value) if known else HOLE
        if isinstance(node, ast.Name):
            if node.id in self.module.strings:
                return self.module.strings[node.id]
            return str(given.value) if isinstance(given := self._given.get(node.id), ast.Constant) else HOLE
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self.module.functions:
            returned = [each for each in ast.walk(self.module.functions[node.func.id]) if isinstance(each, ast.Return)]
            return self._text(returned[-1].value) if returned and returned[-1].value is not None else HOLE
        return HOLE

    def _source(self, node: ast.expr) -> None:
        text = self._text(node)
        if text not in (HOLE, *self.section.sources):
            self.section.sources.append(text)

    def _answer(self, kind: str, node: ast.Call) -> None:
        """What the checks before it come to where they do not hold."""
        if kind not in ("refuse", "fault", "fault_at", "oops", "signal", "short", "depends", "blocked"):
            return
        given = node.args[0] if node.args else None
        if isinstance(given, ast.Name) and given.id in self._given:
            given = self._given[given.id]
        text = _answer_text(kind, given)
        if kind == "depends" and given is not None:
            self.section.add(Row(f"depends on {self._text(given)}", text))
        elif kind == "fault_at":
            self.section.add(Row(f"the bytes at {HOLE} can be {HOLE}", text))
        self._answered(text)

    def _answered(self, text: str) -> None:
        """The checks before that have no answer yet have this one."""
        rows = self.section.rows
        for at in range(len(rows) - 1, -1, -1):
            if rows[at].answer:
                break
            if not rows[at].is_told:
                rows[at] = replace(rows[at], answer=text)

    def _hand_to(self, node: ast.Call, under: tuple[str, ...]) -> None:
        """Another function goes on with the rule: read here, or a section of its own where it is called otherwise."""
        if isinstance(node.func, ast.Name) and node.func.id in self._tables:
            names = dict.fromkeys(self._tables[node.func.id])
            self._leads_to([(self.module, name) for name in names if name in self.module.functions])
            return
        found = self._callee(node.func)
        if found is None:
            return
        module, name = found
        function = module.functions[name]
        if "rule.source =" in ast.unparse(function):
            self._leads_to([found])
        elif (module.name, name) not in self._stack:
            reader = Reader(self.known, module, self.section)
            reader._given = _given(function, node)
            reader._stack = (*self._stack, (module.name, name))
            reader.statements(function.body, under)
            self.inlined |= {*reader.inlined, (module.name, name)}
            self.dispatched |= reader.dispatched

    def _leads_to(self, functions: Sequence[tuple[Module, str]]) -> None:
        """A row for functions that have a section each."""
        names = ", ".join(f"`{name}`" for _, name in functions)
        self.section.add(Row(f"*then* {names}", is_told=self._is_returned))
        self.dispatched |= {(module.name, name): self.section for module, name in functions}

    def _callee(self, function: ast.expr) -> tuple[Module, str] | None:
        """The function of ours that is called: of this module, of an imported one, a method by its name."""
        if isinstance(function, ast.Name):
            if function.id in self.module.functions:
                return self.module, function.id
            where, name = self.module.imported.get(function.id, ("", ""))
            return (self.known[where], name) if where in self.known and name in self.known[where].functions else None
        if not isinstance(function, ast.Attribute):
            return None
        if isinstance(function.value, ast.Name):
            where, name = self.module.imported.get(function.value.id, ("", ""))
            other = self.known.get(f"{where}.{name}")
            if other is not None:
                return (other, function.attr) if function.attr in other.functions else None
        own = [(self.module, name) for name in self.module.functions if name.endswith(f".{function.attr}")]
        every = own or [
            (module, name)
            for module in self.known.values()
            for name in module.functions
            if name.endswith(f".{function.attr}")
        ]
        return every[0] if len(every) == 1 else None

    def switches(self, node: ast.AST) -> tuple[str, ...]:
        """The fields of a kernel profile that an expression looks at, also through a local name."""
        found: tuple[str, ...] = ()
        for each in ast.walk(node):
            if isinstance(each, ast.Attribute):
                of_kernel = each.attr in _SWITCHES and ast.unparse(each.value).rpartition(".")[2] == "kernel"
                if of_kernel or each.attr in _OF_HOST:
                    found = _joined(found, (each.attr,))
            elif isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr == "since":
                found = _joined(found, (f"since {'.'.join(map(ast.unparse, each.args))}",))
            elif isinstance(each, ast.Name):
                found = _joined(found, self._switches.get(each.id, ()))
        return found


def _joined(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def _is_rule(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Rule"


def _makes_checks(node: ast.expr) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "rule" for each in ast.walk(node))


def _given(function: ast.FunctionDef, call: ast.Call) -> dict[str, ast.expr]:
    """What a call gives for each parameter, or its default."""
    names = [each.arg for each in function.args.args]
    defaults = dict(zip(names[len(names) - len(function.args.defaults) :], function.args.defaults, strict=True))
    names = names[1:] if names[:1] == ["self"] else names
    return defaults | dict(zip(names, call.args, strict=False))


def _answer_text(kind: str, given: ast.expr | None) -> str:
    text = ast.unparse(given).rpartition(".")[2] if given is not None else ""
    if kind == "refuse":
        return text if text.startswith("E") else "errno by the case"
    if kind == "fault":
        if text.startswith(_ESR):
            return text.removeprefix(_ESR)
        return f"#{text}" if text.isupper() else "exception by the case"
    other = {"oops": f"host-oops #{text}", "signal": text, "fault_at": _FAULT_AT, "short": _SHORT}
    return other.get(kind, {"depends": "depends-on", "blocked": "blocked"}.get(kind, ""))
