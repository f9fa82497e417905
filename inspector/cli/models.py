"""``inspector models``: named CPU models of arm64, on a host or on many."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence

from inspector.capture.errors import InputError, UsageError
from inspector.cli import arguments, arm64_hosts, kernels
from inspector.cli.files import save_new
from inspector.export import models as export
from inspector.export.arm64_host import capture_of, register_list
from inspector.export.vcpu import write_vcpu
from inspector.machine.arm64.captured import state_of_scratch
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.models.baseline import baseline, rank
from inspector.machine.arm64.models.realize import Realization, ask, realize
from inspector.machine.arm64.models.request import Words, parse_words, request
from inspector.machine.arm64.models.workbench import Workbench
from layouts.arm64.named_models import ModelError, NamedModel, model_named, named_models, parse_model

_FORMATS = ("text", "json", "qmp", "libvirt", "cpu", "sysreg")
_EXAMPLES = """\
  inspector models list --host neoverse-v1
  inspector models show graviton3-v1
  inspector models check neoverse-v1-v1 --host max --host neoverse-v1@6.12
  inspector models check neoverse-v1-v1 feat_AES=pmull sve256=off --host neoverse-v1 --steps
  inspector models expand neoverse-v1-v1 --host neoverse-v1 --to libvirt
  inspector models expand host SYSREG_ID_AA64ISAR0_EL1_AES=1 --host guest.regs
  inspector models baseline neoverse-v1 neoverse-n2 -o ours.toml
  inspector models check ours.toml --host neoverse-n2

A model is a shipped one's name (without -vN the newest version), host for the host's own values, or a file of
your own (docs/cpu-models.md).
A host is a known CPU, several joined by +, recorded answers or a capture; @6.12 after it names its kernel.
The exit code is 1 when a model does not run on every host."""
_HOST = "host"
#: The known CPU that has the most.
_DEFAULT_HOST = "max"


def run(words: Sequence[str]) -> int:
    """Run one of the subcommands."""
    parser = _parser()
    found, rest = parser.parse_known_args(words)
    # Properties may stand behind options too, which argparse does not take by itself.
    if not hasattr(found, "properties") or any(word.startswith("-") or "=" not in word for word in rest):
        found, rest = parser.parse_args(words), []
    if rest:
        found.properties += rest
    try:
        return int(found.run(found))
    except ModelError as error:
        raise UsageError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = arguments.parser("models", "Named CPU models of arm64, on a host or on many.", _EXAMPLES)
    commands = parser.add_subparsers(required=True, metavar="list|show|expand|check|baseline")
    adders = {
        "list": (_list, "the models, and with --host whether they run there"),
        "show": (_show, "a model's values, and where each comes from"),
        "expand": (_expand, "what a guest gets, and what else the host accepts"),
        "check": (_check, "whether a model runs on hosts, and if not which properties block it"),
        "baseline": (_baseline, "the best that runs on all of some hosts"),
    }
    for name, (function, about) in adders.items():
        one = commands.add_parser(name, help=about, description=about)
        one.set_defaults(run=function)
        one.add_argument("--kernel", default="", metavar="RELEASE", help=f"of known CPUs: {kernels.HELP}")
        if name in ("show", "expand", "check"):
            one.add_argument("model", help="a model's name, a file, or host")
        if name in ("expand", "check"):
            one.add_argument("properties", nargs="*", metavar="NAME=VALUE", help="over the model")
            one.add_argument("--steps", action="store_true", help="who set each field, and every call to KVM")
        if name == "baseline":
            one.add_argument("hosts", nargs="+", metavar="HOST", help=arm64_hosts.HELP)
            one.add_argument("-o", "--output", default="", metavar="FILE", help="write it as a model of your own")
        elif name != "show":
            many = name == "check"
            one.add_argument(
                "--host",
                action="append",
                default=[],
                metavar="HOST",
                required=name != "list",
                help=arm64_hosts.HELP + ("; again for more" if many else ""),
            )
        if name == "expand":
            one.add_argument("--save", default="", metavar="PATH", help="the guest's registers: a .vcpu or a list")
        if name == "show":
            one.add_argument("--json", action="store_true", help="as JSON")
        else:
            formats = {"list": ("text", "json", "qmp", "libvirt"), "expand": _FORMATS}.get(name, ("text", "json"))
            one.add_argument("--to", choices=formats, default="text", help="form of the answer (default text)")
            one.add_argument("--json", dest="to", action="store_const", const="json", help="as JSON")
    return parser


# Models and hosts


def _models(name: str = "") -> dict[str, NamedModel]:
    """The shipped models, and the one that a file holds."""
    found = dict(named_models())
    known = model_named(name, found)
    if known is not None:
        return found | {name: known}
    if name and name != _HOST:
        try:
            with open(name, encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            raise UsageError(f"models: {name}: no such model or file; inspector models list has them") from None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(name, "a model file", getattr(error, "strerror", "") or "not UTF-8") from error
        model = parse_model(text, name)
        found[name] = found[model.name] = model
    return found


def _words(words: Iterable[str]) -> Words:
    try:
        return parse_words(words)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _hosts(found: argparse.Namespace) -> list[Host]:
    named = found.hosts if hasattr(found, "hosts") else found.host
    return [arm64_hosts.host_named(name, found.kernel) for name in named]


def _realized(found: argparse.Namespace, host: Host) -> Realization:
    models = _models(found.model)
    model = None if found.model == _HOST else models[found.model]
    return realize(request(model, _words(found.properties), host, models), host)


def _print(value: object) -> None:
    json.dump(value, sys.stdout, indent=1)
    print()


def workbench_of(text: str) -> Workbench:
    """``MODEL:HOST`` for the lab; without a host the known CPU that has the most. Raises UsageError and InputError."""
    name, _, host = text.partition(":")
    models = _models(name)
    if name != _HOST and name not in models:
        raise UsageError(f"model:{text}: no such model")
    return Workbench(arm64_hosts.host_named(host or _DEFAULT_HOST), "" if name == _HOST else models[name].name, models)


# Subcommands


def _list(found: argparse.Namespace) -> int:
    host = _hosts(found)[0] if found.host else None
    models = _models()
    rows: list[tuple[NamedModel, Realization | None]] = [
        (model, realize(request(model, _words(()), host), host) if host is not None else None)
        for model in models.values()
    ]
    if found.to == "qmp":
        _print(export.qmp_definitions(rows))
    elif found.to == "libvirt":
        made = [(model.name, row) for model, row in rows if row is not None]
        if not made:
            raise UsageError("models list --to libvirt: --host names the host")
        print(export.libvirt_xml(made, with_properties=False))
    elif found.to == "json":
        _print(
            {
                "schema": export.SCHEMA,
                "models": [
                    {**export.model_json(model, models), **({"usable": row.usable} if row else {})}
                    for model, row in rows
                ],
            }
        )
    else:
        for model, row in rows:
            print(f"{model.name:<18} {model.title:<28} {_usable(row) or model.parent}".rstrip())
    return 0


def _usable(row: Realization | None) -> str:
    if row is None:
        return ""
    if row.usable:
        return "usable"
    names = list(dict.fromkeys(blocker.name for blocker in row.blockers))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"blocked by {', '.join(names[:3])}{more}"


def _show(found: argparse.Namespace) -> int:
    models = _models(found.model)
    if found.model == _HOST:
        raise UsageError("models show host: a host is no model; models expand host --host HOST shows it")
    model = models[found.model]
    if found.json:
        _print(export.model_json(model, models))
    else:
        print("\n".join(export.model_text(model, models)))
    return 0


def _check(found: argparse.Namespace) -> int:
    made = [_realized(found, host) for host in _hosts(found)]
    if found.to == "json":
        _print([export.realization_json(found.model, one) for one in made])
    else:
        for one in made:
            print("\n".join(export.check_text(found.model, one, steps=found.steps)))
            if found.steps:
                print("\n".join(export.steps_text(one)))
    return 0 if all(one.usable for one in made) else 1


def _expand(found: argparse.Namespace) -> int:
    host = _hosts(found)[0]
    made = _realized(found, host)
    if found.save:
        _save(made, found.model, found.save)
    if found.to == "json":
        _print(export.realization_json(found.model, made) | {"properties": export.properties_of(made.request)})
    elif found.to == "qmp":
        _print(export.qmp_expansion(found.model, made.request))
    elif found.to == "libvirt":
        print(export.libvirt_xml([(found.model, made)], with_properties=True))
    elif found.to == "cpu":
        print(export.cpu_line(found.model, found.properties))
    elif found.to == "sysreg":
        print(export.sysreg_line(made))
    else:
        print("\n".join(export.check_text(found.model, made, steps=found.steps)))
        if found.steps:
            print("\n".join(export.steps_text(made)))
        print("\nregisters of the guest")
        print("\n".join(export.registers_text(made)))
        print("\nproperties, and the values that this host accepts")
        print("\n".join(export.accepted_text(made.request, host)))
    return 0 if made.usable else 1


def _save(made: Realization, name: str, path: str) -> None:
    vcpu, _ = ask(made.request, made.host)
    state = state_of_scratch(vcpu, f"{name} on {made.host.name}")
    if path.endswith(".vcpu"):
        save_new(path, lambda out: write_vcpu(out, capture_of(state)))
    else:
        save_new(path, lambda out: out.write(register_list(state).encode()))
    print(f"{path}: inspector open {path}", file=sys.stderr)


def _baseline(found: argparse.Namespace) -> int:
    hosts = _hosts(found)
    best = baseline(hosts)
    ranked = rank(_models(), hosts, _words(()))
    if found.output:
        name = found.output.rpartition("/")[2].removesuffix(".toml")
        save_new(found.output, lambda out: out.write(export.baseline_toml(best, name, hosts).encode()))
        print(f"{found.output}: inspector models check {found.output} --host HOST", file=sys.stderr)
    if found.to == "json":
        _print(
            {
                "schema": export.SCHEMA,
                "properties": list(best.words),
                "differences": [str(difference) for difference in best.differences],
                "usable": [entry.model.name for entry in ranked if entry.usable],
            }
        )
    else:
        print("\n".join(export.baseline_text(best, hosts)))
        print("\n".join(export.ranking_text(ranked, hosts)))
    return 1 if best.differences else 0
