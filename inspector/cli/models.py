"""``inspector models``: named CPU models of arm64, on a host or on many."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence

from inspector.capture.errors import UsageError
from inspector.cli import arguments
from inspector.cli.streams import note, say, say_json
from inspector.export import model_features, model_hosts
from inspector.export import model_formats as formats
from inspector.export import models as export
from inspector.export.files import save_bytes, save_new
from inspector.export.kinds import head
from inspector.export.register_list import register_list
from inspector.export.vcpu import write_vcpu
from inspector.machine.arm64.captured import state_of_scratch
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.models.baseline import baseline, rank
from inspector.machine.arm64.models.moves import moves, unlike
from inspector.machine.arm64.models.realize import Realization, ask, realize
from inspector.machine.arm64.models.request import Words, parse_words, request
from inspector.targets import arm64_named, kernels
from inspector.targets.arm64_host import capture_of
from inspector.targets.models import target
from inspector.targets.schemes import host_of
from layouts.arm64.arm_features import find
from layouts.arm64.kernels import arm64_kernels
from layouts.arm64.named_models import ModelError, NamedModel, named_models

_FORMATS = ("text", "json", "qmp", "libvirt", "domain", "cpu", "sysreg")
#: Forms in which no released program reads the models.
_PROPOSED = {"qmp": "QEMU", "libvirt": "libvirt", "domain": "libvirt", "cpu": "QEMU", "sysreg": "QEMU"}
_EXAMPLES = """\
  inspector models list --host neoverse-v1
  inspector models show graviton3-v1
  inspector models check neoverse-v1-v1 --host max --host neoverse-v1@6.12
  inspector models check neoverse-v1-v1 feat_AES=pmull sve256=off --host neoverse-v1 --steps
  inspector models expand neoverse-v1-v1 --host neoverse-v1 --to libvirt
  inspector models expand host SYSREG_ID_AA64ISAR0_EL1_AES=1 --host guest.regs
  inspector models baseline neoverse-v1 neoverse-n2 -o ours.toml
  inspector models check neoverse-v1-v1 --host max --each-kernel
  inspector models find FEAT_LSE
  inspector models check ours.toml --host neoverse-n2

A model is a shipped one's name, QEMU's or libvirt's (without -vN the newest version), host for the host's own values,
a file of your own (models baseline -o writes one), or a libvirt domain's XML or its <cpu>.
The models are proposed (qemu-devel, May 2026): no released QEMU or libvirt takes what --to qmp, libvirt, domain, cpu
and sysreg print.
A host is a known core (several joined by +), a chip (grace, graviton3, altra, ...), /proc/cpuinfo of a machine,
recorded answers or a capture; @6.12 after it names its kernel. Of chips and cpuinfo only a part is known: what an
answer hangs on is said. The exit code is 1 when a model does not run on every host, or that is not known."""


def run(words: Sequence[str]) -> int:
    """Run one of the subcommands."""
    parser = _parser()
    found, rest = parser.parse_known_args(words)
    # Properties may stand behind options too, which argparse does not take by itself.
    if not hasattr(found, "properties") or any(word.startswith("-") or "=" not in word for word in rest):
        found, rest = parser.parse_args(words), []
    if rest:
        found.properties += rest
    if getattr(found, "to", "") in _PROPOSED:
        note(f"--to {found.to}: {_PROPOSED[found.to]} takes this only with the proposed models, not as released")
    try:
        return int(found.run(found))
    except ModelError as error:
        raise UsageError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = arguments.parser("models", "Named CPU models of arm64, on a host or on many.", _EXAMPLES)
    commands = parser.add_subparsers(required=True, metavar="list|show|expand|check|baseline|find")
    adders = {
        "list": (_list, "the models, and with --host whether they run there"),
        "show": (_show, "a model's values, and where each comes from"),
        "expand": (_expand, "what a guest gets, and what else the host accepts"),
        "check": (_check, "whether a model runs on hosts, and if not which properties block it"),
        "baseline": (_baseline, "the best that runs on all of some hosts"),
        "find": (_find, "the property for one of Arm's names: a feature, a field, a value"),
    }
    for name, (function, about) in adders.items():
        one = commands.add_parser(name, help=about, description=about)
        one.set_defaults(run=function)
        if name == "find":
            one.add_argument("word", help="FEAT_LSE, PARange, fpaccombine, or a part of such a name")
            continue
        one.add_argument("--kernel", default="", metavar="RELEASE", help=f"of known CPUs: {kernels.HELP}")
        if name in ("show", "expand", "check"):
            one.add_argument("model", help="a model's name, a file, or host")
        if name in ("expand", "check"):
            one.add_argument("properties", nargs="*", metavar="NAME=VALUE", help="over the model")
            one.add_argument("--steps", action="store_true", help="who set each field, and every call to KVM")
        if name == "check":
            one.add_argument("--each-kernel", action="store_true", help="the verdict on each kernel that is known")
        if name == "baseline":
            one.add_argument("hosts", nargs="+", metavar="HOST", help=arm64_named.HELP)
            one.add_argument("-o", "--output", default="", metavar="FILE", help="write it as a model of your own")
        elif name != "show":
            many = name == "check"
            one.add_argument(
                "--host",
                action="append",
                default=[],
                metavar="HOST",
                required=name != "list",
                help=arm64_named.HELP + ("; again for more" if many else ""),
            )
        if name == "expand":
            one.add_argument("--save", default="", metavar="PATH", help="the guest's registers: a .vcpu or a list")
            one.add_argument("--features", action="store_true", help="which FEAT_ the guest has, by Arm's names")
        _add_formats(one, name)
    return parser


def _add_formats(one: argparse.ArgumentParser, name: str) -> None:
    """``--to`` and ``--json`` of one subcommand."""
    if name == "show":
        one.add_argument("--json", action="store_true", help="as JSON")
        return
    formats = {
        "list": ("text", "json", "qmp", "libvirt"),
        "expand": _FORMATS,
        "baseline": ("text", "json", "qmp"),
    }.get(name, ("text", "json"))
    one.add_argument("--to", choices=formats, default="text", help="form of the answer (default text)")
    one.add_argument("--json", dest="to", action="store_const", const="json", help="as JSON")


# Models and hosts


def _words(words: Iterable[str]) -> Words:
    try:
        return parse_words(words)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _hosts(found: argparse.Namespace) -> list[Host]:
    named = found.hosts if hasattr(found, "hosts") else found.host
    return [host_of(name, "arm64", found.kernel, arguments.TOLD) for name in named]


def _realized(found: argparse.Namespace, host: Host) -> Realization:
    named = target(found.model)
    words = _words((*named.words, *found.properties))
    try:
        return realize(request(named.model, words, host, named.models), host)
    except ModelError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error


# Subcommands


def _list(found: argparse.Namespace) -> int:
    host = _hosts(found)[0] if found.host else None
    models = named_models()
    rows: list[tuple[NamedModel, Realization | None]] = [
        (model, realize(request(model, _words(()), host), host) if host is not None else None)
        for model in models.values()
    ]
    if found.to == "qmp":
        say_json(formats.qmp_definitions(rows))
    elif found.to == "libvirt":
        made = [(model, row) for model, row in rows if row is not None]
        if not made:
            raise UsageError("models list --to libvirt: --host names the host")
        say(*formats.libvirt_xml(made, with_properties=False).split("\n"))
    elif found.to == "json":
        say_json(
            {
                **head("models"),
                "models": [
                    {**export.model_json(model, models), **({"usable": row.usable} if row else {})}
                    for model, row in rows
                ],
            }
        )
    else:
        for model, row in rows:
            said = _usable(row) if model.realizable else "for other models to build on: it leaves fields open"
            say(f"{model.name:<18} {model.title:<28} {said if row else model.parent}".rstrip())
    return 0


def _usable(row: Realization | None) -> str:
    if row is None:
        return ""
    if row.usable:
        return "usable"
    if row.possible:
        return f"hangs on {len(row.open)} values that are not known of {row.host.name}"
    names = list(dict.fromkeys(blocker.name for blocker in row.blockers))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"blocked by {', '.join(names[:3])}{more}"


def _show(found: argparse.Namespace) -> int:
    named = target(found.model)
    if named.model is None:
        raise UsageError("models show host: a host is no model; models expand host --host HOST shows it")
    if found.json:
        say_json(export.model_json(named.model, named.models))
    else:
        say(*export.model_text(named.model, named.models))
    return 0


def _find(found: argparse.Namespace) -> int:
    matches = find(found.word)
    if not matches:
        raise UsageError(f"models find {found.word}: no feature, field or value has that name")
    say(*model_features.matches_text(matches))
    return 0


def _on_each_kernel(name: str) -> list[Host]:
    return [host_of(name, "arm64", kernel, arguments.TOLD) for kernel in arm64_kernels()]


def _each_kernel(found: argparse.Namespace) -> int:
    rows = [_realized(found, host) for name in found.host for host in _on_each_kernel(name)]
    if found.to == "json":
        say_json([export.realization_json(found.model, row) for row in rows])
    else:
        say(*model_features.kernels_text(found.model, rows))
    return 0 if all(row.usable for row in rows) else 1


def _check(found: argparse.Namespace) -> int:
    if found.each_kernel:
        return _each_kernel(found)
    made = [_realized(found, host) for host in _hosts(found)]
    moved, differing = (moves(made), unlike(made)) if len(made) > 1 else ([], [])
    if found.to == "json":
        say_json(
            [
                export.realization_json(found.model, one)
                | {"moves": model_hosts.moves_json(moved, one.host), "unlike": model_hosts.unlike_json(made, differing)}
                for one in made
            ]
        )
    else:
        model = target(found.model).model
        if model is not None and not model.realizable:
            say(f"{found.model}: for other models to build on: it leaves fields open that the implementation defines")
        for one in made:
            say(*export.check_text(found.model, one, steps=found.steps))
            if found.steps:
                say(*export.steps_text(one))
        for line in model_hosts.moves_text(made, moved, differing):
            say(line)
    return 0 if all(one.usable for one in made) and all(move.arrives for move in moved) else 1


def _expand(found: argparse.Namespace) -> int:
    host = _hosts(found)[0]
    made = _realized(found, host)
    if found.save:
        _save(made, found.model, found.save)
    if found.to == "json":
        say_json(export.realization_json(found.model, made) | {"properties": export.properties_of(made.request)})
    elif found.to == "qmp":
        say_json(formats.qmp_expansion(found.model, made.request))
    elif found.to == "libvirt":
        model = target(found.model).model
        if model is None:
            raise UsageError("models expand host --to libvirt: the host is no model; --to domain names it")
        say(*formats.libvirt_xml([(model, made)], with_properties=True).split("\n"))
    elif found.to == "domain":
        named = target(found.model)
        say(*formats.domain_cpu(named.model, (*named.words, *found.properties)).split("\n"))
    elif found.to == "cpu":
        say(formats.cpu_line(found.model, found.properties))
    elif found.to == "sysreg":
        say(formats.sysreg_line(made))
    else:
        say(*export.check_text(found.model, made, steps=found.steps))
        if found.steps:
            say(*export.steps_text(made))
        if found.features:
            say(*["", *model_features.features_text(made)])
            return 0 if made.usable else 1
        say("", "registers of the guest")
        say(*export.registers_text(made))
        say("", "properties, and the values that this host accepts")
        say(*export.accepted_text(made.request, host))
    return 0 if made.usable else 1


def _save(made: Realization, name: str, path: str) -> None:
    vcpu, _ = ask(made.request, made.host)
    state = state_of_scratch(vcpu, f"{name} on {made.host.name}")
    if path.endswith(".vcpu"):
        save_new(path, lambda out: write_vcpu(out, capture_of(state)))
    else:
        save_bytes(path, register_list(state).encode())
    note(f"{path}: inspector open {shlex.quote(path)}")


def _baseline(found: argparse.Namespace) -> int:
    hosts = _hosts(found)
    best = baseline(hosts)
    ranked = rank(named_models(), hosts, _words(()))
    if found.output:
        name = found.output.rpartition("/")[2].removesuffix(".toml")
        save_bytes(found.output, model_hosts.baseline_toml(best, name, hosts).encode())
        note(f"{found.output}: inspector models check {found.output} --host HOST")
    first = ranked[0]
    if found.to == "qmp":
        if not first.possible:
            raise UsageError("models baseline --to qmp: no named model runs on all of these hosts")
        say_json(formats.qmp_baseline(first))
        return 0 if first.usable else 1
    moved, differing = (moves(first.realizations), unlike(first.realizations)) if first.possible else ([], [])
    if found.to == "json":
        say_json(
            {
                **head("baseline"),
                "properties": list(best.words),
                "differences": [str(difference) for difference in best.differences],
                "usable": [entry.model.name for entry in ranked if entry.usable],
                "switches": {entry.model.name: list(entry.words) for entry in ranked if entry.possible},
                "moves": {host.name: model_hosts.moves_json(moved, host) for host in hosts},
            }
        )
    else:
        say(*model_hosts.baseline_text(best, hosts))
        say(*model_hosts.ranking_text(ranked, hosts))
        for line in model_hosts.moves_text(first.realizations, moved, differing):
            say(line)
    return 1 if best.differences else 0
