"""``inspector models`` for arm64: named CPU models, on a host or on many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.cli import arguments
from inspector.cli.streams import note, say, say_json
from inspector.export import model_answers as answers
from inspector.export import model_features, model_hosts
from inspector.export import models as export
from inspector.export.kinds import head
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.models.baseline import baseline, rank
from inspector.machine.arm64.models.moves import moves, unlike
from inspector.machine.arm64.models.realize import Realization, ask, realize
from inspector.machine.arm64.models.request import Words, parse_words, request
from inspector.targets.models import target
from inspector.targets.schemes import host_of
from layouts.arm64.arm_features import find
from layouts.arm64.kernels import kernels
from layouts.arm64.named_models import ModelError, NamedModel, named_models
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


#: Forms in which no released program reads the models.
_PROPOSED = {"qmp": "QEMU", "capabilities": "libvirt", "libvirt": "libvirt", "qemu": "QEMU", "sysreg": "QEMU"}


def tell_proposed(form: str) -> None:
    """Note that no released program reads a form of these models."""
    if form in _PROPOSED:
        note(f"--to {form}: {_PROPOSED[form]} takes this only with the proposed models, not as released")


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


def list_(found: argparse.Namespace) -> int:
    """The models, and with a host whether they run there."""
    from inspector.export import model_formats as formats

    rows = _rows(found)
    if found.to == "qmp":
        say_json(answers.qmp_definitions(formats.row_of(*row) for row in rows))
    elif found.to == "capabilities":
        if not found.host:
            raise UsageError("models list --to capabilities: --host names the host")
        say(*answers.capabilities(formats.row_of(*row) for row in rows).split("\n"))
    elif found.to == "json":
        say_json({**head("models"), "models": list_json(found)})
    else:
        for model, row in rows:
            said = _usable(row) if model.realizable else "for other models to build on: it leaves fields open"
            say(f"{model.name:<18} {model.title:<28} {said if row else model.parent}".rstrip())
    return ExitCode.OK


def _rows(found: argparse.Namespace) -> list[tuple[NamedModel, Realization | None]]:
    host = _hosts(found)[0] if found.host else None
    return [
        (model, realize(request(model, _words(()), host), host) if host is not None else None)
        for model in named_models().values()
    ]


def list_json(found: argparse.Namespace) -> list[dict[str, object]]:
    """The models for programs."""
    return [
        {**export.model_json(model, named_models()), **({"usable": row.usable} if row else {})}
        for model, row in _rows(found)
    ]


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


def show(found: argparse.Namespace) -> int:
    """A model's values, and where each comes from."""
    named = target(found.model)
    if named.model is None:
        raise UsageError("models show host: a host is no model; models expand host --host HOST shows it")
    if named.words:
        raise UsageError(f"models show {found.model}: properties are of a guest; models expand shows it on a host")
    if found.json:
        say_json(export.model_json(named.model, named.models))
    else:
        say(*export.model_text(named.model, named.models))
    return ExitCode.OK


def find_(found: argparse.Namespace) -> int:
    """The properties for one of Arm's names."""
    matches = find(found.word)
    if not matches:
        raise UsageError(f"models find {found.word}: no feature, field or value has that name")
    say(*model_features.matches_text(matches))
    return ExitCode.OK


def _on_each_kernel(name: str) -> list[Host]:
    return [host_of(name, "arm64", kernel, arguments.TOLD) for kernel in kernels()]


def _each_kernel(found: argparse.Namespace) -> int:
    rows = [_realized(found, host) for name in found.host for host in _on_each_kernel(name)]
    if found.to == "json":
        say_json([export.realization_json(found.model, row) for row in rows])
    else:
        say(*model_features.kernels_text(found.model, rows))
    return ExitCode.of(all(row.usable for row in rows))


def check(found: argparse.Namespace) -> int:
    """Whether a model runs on hosts, and whether its guests move between them."""
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
    return ExitCode.of(all(one.usable for one in made) and all(move.arrives for move in moved))


def expand(found: argparse.Namespace) -> int:
    """What a guest gets, and what else the host accepts."""
    from inspector.export import model_formats as formats

    host = _hosts(found)[0]
    made = _realized(found, host)
    if found.save:
        _save(made, found.model, found.save)
    if found.to == "json":
        say_json(export.realization_json(found.model, made) | {"properties": export.properties_of(made.request)})
    elif found.to == "qmp":
        say_json(formats.qmp_expansion(found.model, made.request))
    elif found.to == "capabilities":
        model = target(found.model).model
        if model is None:
            raise UsageError("models expand host --to capabilities: the host is no model; --to libvirt names it")
        say(*answers.capabilities([formats.row_of(model, made, with_properties=True)]).split("\n"))
    elif found.to in ("libvirt", "qemu"):
        named = target(found.model)
        _say_line(found.to, named.model, (*named.words, *found.properties))
    elif found.to == "sysreg":
        say(formats.sysreg_line(made))
    else:
        say(*export.check_text(found.model, made, steps=found.steps))
        if found.steps:
            say(*export.steps_text(made))
        if found.features:
            say(*["", *model_features.features_text(made)])
            return ExitCode.of(made.usable)
        say("", "registers of the guest")
        say(*export.registers_text(made))
        say("", "properties, and the values that this host accepts")
        say(*export.accepted_text(made.request, host))
    return ExitCode.of(made.usable)


def _say_line(vmm: str, model: NamedModel | None, words: Sequence[str]) -> None:
    """A model with words over it in the words of a VMM."""
    from inspector.export import model_formats as formats

    if vmm == "qemu":
        say(formats.cpu_line(model.name if model else "host", words))
    else:
        say(*formats.domain_cpu(model, words).split("\n"))


def _save(made: Realization, name: str, path: str) -> None:
    import shlex

    from inspector.export.files import save_bytes, save_new
    from inspector.export.register_list import register_list
    from inspector.export.vcpu import write_vcpu
    from inspector.machine.arm64.captured import state_of_scratch
    from inspector.targets.arm64_host import capture_of

    vcpu, _ = ask(made.request, made.host)
    state = state_of_scratch(vcpu, f"{name} on {made.host.name}")
    if path.endswith(".vcpu"):
        save_new(path, lambda out: write_vcpu(out, capture_of(state)))
    else:
        save_bytes(path, register_list(state).encode())
    note(f"{path}: inspector open {shlex.quote(path)}")


def best(found: argparse.Namespace) -> int:
    """The best that runs on all hosts."""
    hosts = _hosts(found)
    best = baseline(hosts)
    ranked = rank(named_models(), hosts, _words(()))
    if found.output:
        from inspector.export.files import save_bytes

        name = found.output.rpartition("/")[2].removesuffix(".toml")
        save_bytes(found.output, model_hosts.baseline_toml(best, name, hosts).encode())
        note(f"{found.output}: inspector models check {found.output} --host HOST")
    first = ranked[0]
    if found.to in ("qmp", "qemu", "libvirt"):
        if not first.possible:
            raise UsageError(f"models baseline --to {found.to}: no named model runs on all of these hosts")
        if found.to == "qmp":
            switches = {name: on == "on" for name, _, on in (word.partition("=") for word in first.words)}
            say_json(answers.qmp_baseline(first.model.name, switches))
        else:
            _say_line(found.to, first.model, first.words)
        return ExitCode.of(first.usable)
    moved, differing = (moves(first.realizations), unlike(first.realizations)) if first.possible else ([], [])
    if found.to == "json":
        say_json(
            {
                **head("baseline"),
                "arch": "arm64",
                "hosts": [host.name for host in hosts],
                "properties": list(best.words),
                "differences": [str(difference) for difference in best.differences],
                "partial": {},
                "phys_bits": None,
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
    return ExitCode.of(not best.differences)
