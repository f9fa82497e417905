"""What the words of an argument can be, by the name that the help gives it: TARGET, HOST, GLOB."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from inspector.targets.host_names import completed as hosts_completed
from inspector.targets.host_names import kernel_names
from inspector.targets.schemes import SCHEMES, scheme_of

#: A file is read for its fields when it is no larger.
_TARGET_BYTES = 64 << 20
_ARCHITECTURES = ("x86", "arm64")


class Candidate(NamedTuple):
    """A word, and what it is in a line."""

    word: str
    about: str


class Asked(NamedTuple):
    """A word that is being typed: of which command, behind which words, as the value of which option."""

    command: str
    current: str
    given: tuple[str, ...] = ()
    named: Mapping[str, str] = {}
    option: str = ""


def candidates(value: str, asked: Asked) -> list[Candidate]:
    """What an argument can be; those that do not begin as the word are taken out by who asks."""
    make = _BY_PLACE.get((asked.command, asked.option or value)) or _BY_PLACE.get(("", asked.option))
    make = make or _BY_VALUE.get(value)
    return list(make(asked)) if make else []


def _plain(words: Iterable[str]) -> list[Candidate]:
    return [Candidate(word, "") for word in words]


def _files(asked: Asked) -> list[Candidate]:
    folder, part = os.path.split(asked.current)
    try:
        names = sorted(os.listdir(os.path.expanduser(folder) or "."))
    except OSError:
        return []
    shown = [name for name in names if name.startswith(part) and (part or not name.startswith("."))]
    paths = [os.path.join(folder, name) for name in shown]
    return _plain(f"{path}/" if os.path.isdir(os.path.expanduser(path)) else path for path in paths)


def _samples() -> list[Candidate]:
    from inspector.targets import samples

    return [Candidate(f"{samples.SCHEME}{name}", about) for name, about in samples.abouts().items()]


def _scenarios(asked: Asked) -> list[Candidate]:
    from layouts.scenarios import scenarios

    name, at, _ = asked.current.partition("@")
    if at:
        return _plain(f"{name}@{word}" for word in dict.fromkeys(_all_releases()))
    return [Candidate(one.name, one.title) for one in scenarios().values()]


def _sim(asked: Asked) -> list[Candidate]:
    own = {"list": "their names", "new": "an empty host", "restore": "the capture of --from"}
    return [*(Candidate(*one) for one in own.items()), *_scenarios(asked)]


def _models(_: Asked) -> list[Candidate]:
    from layouts.arm64.named_models import named_models
    from layouts.x86.models.qemu import qemu_models

    arm64 = [Candidate(model.name, model.title) for model in named_models().values()]
    x86 = qemu_models()
    return [*arm64, Candidate("host", "the host's own values"), *_plain([*x86.aliases, *x86.models])]


def _targets(asked: Asked) -> list[Candidate]:
    current = asked.current
    prefix, colon, rest = current.partition(":")
    if colon and prefix == "sample":
        return _samples()
    if colon and prefix == "sim":
        return [Candidate(f"sim:{word}", about) for word, about in _scenarios(asked._replace(current=rest))]
    if colon and prefix == "model":
        return _model_targets(rest)
    schemes = [Candidate(one.prefix, one.about) for one in SCHEMES if one.prefix.endswith(":")]
    return [*schemes, *_files(asked)]


def _model_targets(rest: str) -> list[Candidate]:
    model, colon, host = rest.partition(":")
    if colon:
        return _plain(f"model:{model}:{word}" for word in hosts_completed(host, "arm64") if ":" not in word)
    return [Candidate(f"model:{word}", about) for word, about in _models(Asked("", rest))]


def _hosts(asked: Asked) -> list[Candidate]:
    if asked.current.startswith("sample:"):
        return _samples()
    names = [word for each in _ARCHITECTURES for word in hosts_completed(asked.current, each)]
    own = _plain(name for name in names if not name.startswith("sample:"))
    return [*own, Candidate("sample:", "a capture that comes with the tool"), *_files(asked)]


def _cpus(asked: Asked) -> list[Candidate]:
    from layouts.x86.cpus import cpu_layouts

    if asked.current.startswith("sample:"):
        return _samples()
    known = [Candidate(cpu.name, cpu.title) for cpu in cpu_layouts().values()]
    if asked.option in ("--layout", "--cpu"):
        return known
    arm64 = _plain(name for name in hosts_completed(asked.current, "arm64") if not name.startswith("sample:"))
    return [*known, *arm64, Candidate("sample:", "a capture that comes with the tool"), *_files(asked)]


def _structures(_: Asked) -> list[Candidate]:
    from layouts.registry import layouts

    return [Candidate(one.name, one.title) for one in layouts().values() if one.name.startswith("kvm-")]


def _known(asked: Asked) -> list[Candidate]:
    """What ``layouts show`` tells of, and releases for ``layouts kernels``."""
    if asked.given[:1] == ("kernels",):
        return _releases(asked)
    from layouts.arm64.arm_features import feature_names
    from layouts.registry import layouts
    from layouts.x86.xsave import COMPONENTS

    cpus = _cpus(asked._replace(option="--layout"))
    structures = [Candidate(one.name, one.title) for one in layouts().values()]
    components = [Candidate(one.name, one.title) for one in COMPONENTS]
    return [*cpus, *structures, *components, *_plain(feature_names())]


def _releases(_: Asked) -> list[Candidate]:
    return _plain(dict.fromkeys(_all_releases()))


def _all_releases() -> list[str]:
    return [release for each in _ARCHITECTURES for release in kernel_names(each)]


def _codes(_: Asked) -> list[Candidate]:
    from layouts.lint.table import lint_rules

    return [Candidate(rule.code, rule.title) for rule in lint_rules().values()]


def _features(_: Asked) -> list[Candidate]:
    from layouts.arm64.arm_features import feature_names

    return _plain(feature_names())


def _properties(_: Asked) -> list[Candidate]:
    from layouts.arm64.properties import properties

    return _plain(f"{name}=" for name in properties())


def _fields(asked: Asked) -> list[Candidate]:
    """Paths of the target that was named, word by word: ``xsave.``, then what is below."""
    if not asked.given or not _can_be_read(asked.given[0]):
        return []
    from inspector.targets.field_paths import field_paths

    paths = field_paths(asked.given[0], asked.current, asked.named.get("--vcpu", ""))
    return [Candidate(path, about) for path, about in paths.items()]


def _edits(asked: Asked) -> list[Candidate]:
    return [Candidate(word if word.endswith(".") else f"{word}=", about) for word, about in _fields(asked)]


def _can_be_read(target: str) -> bool:
    """Reading it costs little and stops nobody: no pipe, no machine that runs."""
    scheme = scheme_of(target)
    if not scheme.prefix:
        return os.path.isdir(target) or (os.path.isfile(target) and os.path.getsize(target) <= _TARGET_BYTES)
    return scheme.prefix == "sample:"


def _events(_: Asked) -> list[Candidate]:
    """The events of all scenarios."""
    from layouts.scenarios import scenarios

    return _plain(dict.fromkeys(event for one in scenarios().values() for event in one.events))


def _places(_: Asked) -> list[Candidate]:
    """Where the same events happen too: ``kernel=6.1``."""
    from layouts.arm64.scenario_events import ABIS
    from layouts.x86.cpus import cpu_layouts
    from layouts.x86.kernels import policies

    hosts = (f"host={name}" for name in (*cpu_layouts(), *hosts_completed("", "arm64")) if ":" not in name)
    kernels = (f"kernel={release}" for release in dict.fromkeys(_all_releases()))
    return _plain((*kernels, *(f"policy={name}" for name in policies()), *ABIS, *hosts))


def _machines(_: Asked) -> list[Candidate]:
    from layouts.x86.models.qemu import machines

    return _plain(("q35", "pc", *machines()))


def _kept(_: Asked) -> list[Candidate]:
    from layouts.secrets import KINDS

    return [Candidate(kind, about) for kind, about in KINDS.items()]


def _components(_: Asked) -> list[Candidate]:
    from layouts.x86.xsave import COMPONENTS

    return [Candidate(str(one.number), one.title) for one in COMPONENTS]


def _themes(_: Asked) -> list[Candidate]:
    from inspector.tui.config import theme_names

    return _plain(theme_names())


def _sample_words(_: Asked) -> list[Candidate]:
    """Parts of samples' names."""
    from inspector.targets import samples

    return _plain(dict.fromkeys(part for name in samples.names() for part in name.split("/")))


_BY_VALUE: dict[str, Callable[[Asked], Iterable[Candidate]]] = {
    "TARGET": _targets,
    "SRC": lambda asked: [*_targets(asked), *_hosts(asked)],
    "DST": _hosts,
    "HOST": _hosts,
    "HOSTS": _hosts,
    "CPU": _cpus,
    "RELEASE": _releases,
    "GLOB": _fields,
    "FIELD=VALUE": _edits,
    "CODE": _codes,
    "PATH": _files,
    "FILE": _files,
    "DIR": _files,
    "TYPE": _machines,
    "LOG": lambda asked: _samples() if asked.current.startswith("sample:") else _files(asked),
    "LINE": _models,
    "NAME=VALUE": _properties,
    "model": _models,
    "word": _features,
    "kvm:": lambda _: [Candidate("kvm:", "the KVM of this machine")],
    "VERSION": lambda _: _plain(_qemu_versions()),
}
#: By command, or of any, and the name of an argument that says less than its place.
_BY_PLACE: dict[tuple[str, str], Callable[[Asked], Iterable[Candidate]]] = {
    ("", "--layout"): _cpus,
    ("", "--as"): _structures,
    ("", "--base"): _targets,
    ("sim", "--against"): _places,
    ("sim", "--event"): _events,
    ("sim", "--why"): _components,
    ("report", "--keep"): _kept,
    ("screenshot", "--theme"): _themes,
    ("samples", "WORD"): _sample_words,
    ("verify", "--cpu"): _cpus,
    ("screenshot", "--field"): _fields,
    ("sim", "name"): _sim,
    ("layouts", "name"): _known,
    ("layouts", "NEWER"): _releases,
    ("layouts", "--cpu"): _hosts,
}


def _qemu_versions() -> tuple[str, ...]:
    from layouts.x86.models.qemu import VERSIONS

    return VERSIONS
