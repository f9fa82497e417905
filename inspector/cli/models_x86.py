"""``inspector models`` for x86: QEMU's named models, and lines of QEMU, libvirt and others, on hosts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.cli.arguments import TOLD
from inspector.cli.streams import note, say, say_json
from inspector.export import x86_model_answers as answers
from inspector.export import x86_models as export
from inspector.export.kinds import head
from inspector.export.model_answers import capabilities, qmp_baseline, qmp_definitions
from inspector.export.x86_guest_lines import line_of
from inspector.export.x86_lines import VMMS
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.model_moves import Place, moves, unlike
from inspector.machine.x86.models.baseline import baseline, labels
from inspector.machine.x86.models.offer import KVM, Offer
from inspector.machine.x86.models.realize import Realization, realize
from inspector.machine.x86.models.request import RequestError, request
from inspector.readers.options import NO_OPTIONS
from inspector.targets.x86_destination import destination_of, destination_of_offer
from inspector.targets.x86_guest import guest_of_realization
from inspector.targets.x86_models import Asked, asked_of, optional_of
from inspector.targets.x86_offers import offer_named
from layouts.light import TYPE_CHECKING
from layouts.x86.models.qemu import NEWEST, CpuModel, machines, qemu_models

if TYPE_CHECKING:
    import argparse


def _asked(found: argparse.Namespace) -> Asked:
    words = found.model + "".join(f",{word}" for word in getattr(found, "properties", ()))
    return asked_of(words, machine=found.machine, qemu=found.qemu)


def _offer(found: argparse.Namespace, name: str) -> Offer:
    offer = offer_named(name, TOLD)
    return offer._replace(kernel=found.kernel) if found.kernel and not offer.kernel else offer


def _realized(asked: Asked, offer: Offer) -> Realization:
    try:
        return realize(optional_of(asked, offer), offer)
    except RequestError as error:
        raise UsageError(str(error)) from None


def list_(found: argparse.Namespace) -> list[tuple[CpuModel, Realization | None]]:
    """Every model, with what comes of it on the first host."""
    offer = _offer(found, found.host[0]) if found.host else None
    models = qemu_models(found.qemu or NEWEST)
    return [
        (model, realize(request(name, machine=found.machine, qemu=models.version), offer) if offer else None)
        for name, model in models.models.items()
    ]


def list_text(found: argparse.Namespace) -> int:
    """A line a model, or JSON."""
    if found.to == "json":
        say_json({**head("models"), "models": list_json(found)})
        return ExitCode.OK
    rows = list_(found)
    if found.to == "qmp":
        say_json(qmp_definitions(answers.row_of_model(*row) for row in rows))
        return ExitCode.OK
    if found.to == "capabilities":
        offer = rows[0][1].offer if rows[0][1] else None
        if offer is None:
            raise UsageError("models list --to capabilities: --host names the host")
        say(*capabilities([answers.row_of_model(*row) for row in rows], offer.accelerator).split("\n"))
        return ExitCode.OK
    for model, made in rows:
        say(f"{model.name:<26} {model.model_id:<44} {_usable(made)}".rstrip())
    return ExitCode.OK


def list_json(found: argparse.Namespace) -> list[dict[str, object]]:
    """The models for programs."""
    models = qemu_models(found.qemu or NEWEST)
    return [
        {**export.model_json(model, models), **({"usable": made.verdict == "yes"} if made else {})}
        for model, made in list_(found)
    ]


def _usable(made: Realization | None) -> str:
    if made is None:
        return ""
    if made.missing:
        names = [entry.feature for entry in made.missing]
        return f"blocked by {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
    return f"hangs on {len(made.unknown)} features that are not known" if made.unknown else "usable"


def show(found: argparse.Namespace) -> int:
    """A model's features, and what it has over the version before."""
    models = qemu_models(found.qemu or NEWEST)
    model = models.named(found.model)
    if model is None:
        asked = _asked(found)
        model = asked.request.model
        if model is None:
            raise UsageError(f"models show {found.model}: a host is no model; models expand shows it on one")
    if found.json:
        say_json(export.model_json(model, models))
    else:
        say(*export.model_text(model, models))
    return ExitCode.OK


def expand(found: argparse.Namespace) -> int:
    """What a guest gets on a host, or the same guest in the words of another VMM."""
    asked = _asked(found)
    made = _realized(asked, _offer(found, found.host[0]))
    if found.to == "json":
        document = export.realization_json(found.model, made, asked.nameless)
        say_json(document | {"properties": export.properties_of(made)})
    elif found.to == "qmp":
        say_json(export.qmp_expansion(made))
    elif found.to == "capabilities":
        say(*capabilities([answers.row_of_request(made)], made.offer.accelerator).split("\n"))
    elif found.to in VMMS:
        _say_line(found.to, asked)
    else:
        say(*export.check_text(found.model, made, asked.nameless, steps=found.steps))
        if found.steps:
            say(*export.steps_text(made))
        say(*export.expand_text(made))
    return ExitCode.of(made.verdict == "yes")


def _say_line(vmm: str, asked: Asked) -> None:
    found = line_of(vmm, asked.request, asked.line)
    if found.lost:
        note(f"--to {vmm}: not said there: {', '.join(found.lost)}")
    say(*found.text.split("\n"))


def check(found: argparse.Namespace) -> int:
    """Whether a guest gets all that is asked for, host by host; with --each-machine by machine type."""
    asked = _asked(found)
    offers = [_offer(found, name) for name in found.host]
    made = [_realized(asked, offer) for offer in offers]
    if found.each_machine:
        made = [
            _realized(asked._replace(request=asked.request._replace(machine=machine)), offer)
            for offer in offers
            for machine in machines().values()
        ]
    places = _places(found.model, found.host, made) if len(offers) > 1 and not found.each_machine else []
    moved, differing = moves(places), unlike(places)
    if found.to == "json":
        documents = [export.realization_json(found.model, one, asked.nameless) for one in made]
        if not found.each_machine:
            for document, place in zip_longest(documents, places):
                document["moves"] = export.moves_json(moved, place) if place else []
                document["unlike"] = export.unlike_json(places, differing)
        say_json(documents)
    else:
        for one in made:
            say(*export.check_text(found.model, one, asked.nameless, steps=found.steps))
        if places:
            say(*export.moves_text(places, moved, differing))
    return ExitCode.of(all(one.verdict == "yes" for one in made) and all(move.arrives for move in moved))


def _places(line: str, hosts: Sequence[str], made: Sequence[Realization]) -> list[Place]:
    """The guest of a line on each host, and each host as a destination."""
    names = labels([one.offer for one in made])
    return [
        Place(name, one, guest_of_realization(line, one), _destination(host, one.offer))
        for name, host, one in zip(names, hosts, made, strict=True)
    ]


def _destination(host: str, offer: Offer) -> Destination:
    """The same host as a destination: by the names of features where those are what is known."""
    if offer.cpuid is None and offer.accelerator == KVM:
        return destination_of_offer(offer, offer.kernel, NO_OPTIONS)
    return destination_of(host, offer.kernel, NO_OPTIONS)


def best(found: argparse.Namespace) -> int:
    """The best model for guests that run on all of the hosts."""
    offers = [_offer(found, name) for name in found.hosts]
    result = baseline(offers, qemu=found.qemu or NEWEST, machine=found.machine)
    first = result.ranked[0] if result.ranked else None
    if found.to == "json":
        places = _places(first.model, found.hosts, first.realizations) if first else []
        moved = moves(places) if len(places) > 1 else []
        say_json(export.baseline_json(result, offers, {one.name: export.moves_json(moved, one) for one in places}))
    elif found.to == "qmp" and first is not None:
        say_json(qmp_baseline(first.model, {word[1:]: word[0] == "+" for word in first.words}))
    elif found.to in VMMS and first is not None:
        _say_line(found.to, Asked(asked_of(first.model).line, first.request, ()))
    else:
        say(*export.baseline_text(result, offers))
    return ExitCode.of(first is not None)


_RUN = {"list_text": list_text, "show": show, "expand": expand, "check": check, "best": best}


def run(name: str, found: argparse.Namespace) -> int:
    """One of the subcommands. Raises UsageError for what QEMU would not take."""
    try:
        return _RUN[name](found)
    except RequestError as error:
        raise UsageError(str(error)) from None
