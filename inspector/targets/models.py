"""The word that names a model: a shipped one's name, a file of one's own, libvirt's XML, or the host itself.

Properties may follow, as in QEMU's line: ``neoverse-v1-v1,sve=off``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from inspector.capture.errors import InputError, UsageError
from inspector.capture.model import Capture
from inspector.capture.nearest import did_you_mean
from inspector.machine.arm64.captured import state_of_scratch
from inspector.machine.arm64.models.realize import ask
from inspector.readers.lines import text_of
from inspector.readers.options import NO_OPTIONS, Options
from inspector.targets.arm64_host import capture_of
from inspector.targets.kernels import split
from inspector.targets.labs import IdLab
from inspector.targets.schemes import host_of
from layouts.arm64.named_models import ModelError, NamedModel, model_named, named_models, parse_model
from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from inspector.machine.arm64.models.workbench import Workbench

SCHEME = "model:"
HOST = "host"
#: The known CPU that has the most.
_DEFAULT_HOST = "max"


class Target(NamedTuple):
    """A model, None for the host's own values; all models that are known; properties of the word or file over it."""

    name: str
    model: NamedModel | None
    models: Mapping[str, NamedModel]
    words: tuple[str, ...] = ()


def target(name: str) -> Target:
    """What a word names. Raises UsageError for a name that is none, InputError for a file that is none."""
    bare, *words = [name] if os.path.lexists(name) else _line(name)
    found = _named(bare)
    return found._replace(words=(*found.words, *words))


def _line(text: str) -> list[str]:
    """A model and its properties, as QEMU's line has them; ``-cpu`` may stand before."""
    return text.strip().removeprefix("-cpu ").strip().split(",")


def _named(name: str) -> Target:
    """What a word without properties names."""
    models: Mapping[str, NamedModel] = named_models()
    if name == HOST:
        return Target(name, None, models)
    known = model_named(name, models)
    if known is not None:
        return Target(name, known, models)
    text = _text(name, models)
    if text.lstrip("\ufeff \t\r\n").startswith("<"):
        return _domain(name, text, models)
    if text.startswith("-cpu "):
        bare, *words = _line(text)
        return _named(bare)._replace(words=tuple(words))
    _refuse_endless(name, text)
    model = parse_model(text, name)
    return Target(name, model, {**models, name: model, model.name: model})


def _refuse_endless(name: str, text: str) -> None:
    """Refuse TOML on which its parser would not end, or not well; what else is wrong with it is told later."""
    import tomllib

    from inspector.readers.text import parse_toml

    try:
        parse_toml(text)
    except tomllib.TOMLDecodeError:
        return
    except ValueError as error:
        raise ModelError(f"{name}: expected TOML; {error}") from None


def _text(name: str, models: Mapping[str, NamedModel]) -> str:
    if not os.path.lexists(name):
        every = {
            word for model in models.values() for word in (model.name, model.libvirt, model.name.rpartition("-v")[0])
        }
        hint = did_you_mean(name, every, "inspector models list")
        raise UsageError(f"models: {name}: no such model or file; {hint}")
    return text_of(name, "a model file")


def _domain(name: str, text: str, models: Mapping[str, NamedModel]) -> Target:
    from inspector.readers.libvirt_cpu import parse_libvirt_cpu

    found = parse_libvirt_cpu(text, name)
    if not found.model:
        return Target(name, None, models, found.words)
    model = model_named(found.model, models)
    if model is None:
        raise InputError(name, "the name of an arm64 model (inspector models list)", repr(found.model))
    return Target(name, model, models, found.words)


class Place(NamedTuple):
    """Where a model is asked: ``MODEL[,PROPERTY=VALUE...][:HOST[,HOST]]``. An empty second host is none."""

    model: str
    host: str
    second: str


def place_of(text: str) -> Place:
    """The words of a place; the known CPU that has the most stands for no host. Raises UsageError."""
    name, _, hosts = text.partition(":")
    if not name:
        raise UsageError(f"model:{text}: expected a model and a host, as in model:neoverse-v1-v1:max")
    _refuse_x86(name, text)
    first, comma, second = _two_hosts(hosts)
    if not comma:
        return Place(name, hosts or _DEFAULT_HOST, "")
    if not first or not second:
        raise UsageError(f"model:{text}: expected two hosts, as in model:{name}:grace,graviton3")
    return Place(name, first, second)


def _two_hosts(hosts: str) -> tuple[str, str, str]:
    """The words of two hosts, and the comma between them; ``,mte=on`` belongs to the host before it."""
    words = hosts.split(",")
    begins = [at for at, word in enumerate(words) if "=" not in word]
    if len(begins) < 2 or os.path.lexists(split(hosts)[0]):
        return hosts, "", ""
    return ",".join(words[: begins[-1]]), ",", ",".join(words[begins[-1] :])


def workbench_of(text: str, options: Options = NO_OPTIONS) -> Workbench:
    """``MODEL:HOST`` for the lab, of two hosts the first. Raises UsageError and InputError."""
    return _bench(place_of(text), options)


def _bench(place: Place, options: Options) -> Workbench:
    try:
        named = target(place.model)
    except ModelError as error:
        raise UsageError(str(error)) from None
    from inspector.machine.arm64.models.workbench import Workbench

    bench = Workbench(host_of(place.host, "arm64", "", options), named.model.name if named.model else "", named.models)
    try:
        for word in named.words:
            bench = bench.with_word(word)
    except ValueError as error:
        raise UsageError(f"{SCHEME}{place.model}: {error}") from error
    return bench


def _refuse_x86(name: str, text: str) -> None:
    """A guest of an x86 model has no registers before it moves. Raises UsageError."""
    bare = name.partition(",")[0]
    if bare == HOST or model_named(bare, named_models()) is not None or os.path.lexists(name):
        return
    from inspector.targets.x86_models import is_x86_model

    if is_x86_model(name):
        raise UsageError(
            f"model:{text}: an x86 model, whose guest is a line and no registers; "
            f"inspector models expand {name} --host HOST, or inspector migrate model:{text} HOST"
        )


def lab_of_model(target: str, options: Options) -> IdLab:
    """``model:NAME[:HOST[,HOST]]`` in the ID-register lab. Raises UsageError and InputError."""
    place = place_of(target.removeprefix(SCHEME))
    second = host_of(place.second, "arm64", "", options) if place.second else None
    return IdLab(_bench(place, options), second, second_word=place.second)


def capture_of_model(target: str, options: Options) -> Capture:
    """The guest's registers after what the host took, of two the first. Raises UsageError and InputError."""
    return capture_of_bench(workbench_of(target.removeprefix(SCHEME), options))


def capture_of_bench(bench: Workbench) -> Capture:
    """The registers of the guest that the lab asks for, as the host gives them."""
    vcpu, _ = ask(bench.made.request, bench.host)
    state = state_of_scratch(vcpu, f"{bench.setup.model or HOST} on {bench.host.name}")
    return capture_of(state, kernel=bench.host.kernel.release)
