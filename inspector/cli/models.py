"""``inspector models``: named CPU models of arm64 and x86, on a host or on many; the same words for both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.cli import arguments, models_arm64
from inspector.cli.streams import say_json
from inspector.export.kinds import head
from inspector.targets import arm64_named, kernels, model_architecture
from inspector.targets.model_architecture import ARM64, X86
from layouts.arm64.named_models import ModelError
from layouts.light import TYPE_CHECKING, NamedTuple
from layouts.x86.models.qemu import VERSIONS

if TYPE_CHECKING:
    import argparse
    from typing import Any

    from inspector.cli.parser import Parser


_EXAMPLES = """\
  inspector models list --host neoverse-v1
  inspector models list --arch x86
  inspector models show graviton3-v1
  inspector models show EPYC-Rome-v4
  inspector models check neoverse-v1-v1 --host max --host neoverse-v1@6.12
  inspector models check neoverse-v1-v1 feat_AES=pmull sve256=off --host neoverse-v1 --steps
  inspector models check EPYC-Milan,+pcid,-svm --host EPYC-Rome-v4
  inspector models check domain.xml --host domcapabilities.xml
  inspector models expand neoverse-v1-v1 --host neoverse-v1 --to capabilities
  inspector models expand EPYC-v4,-xsaves --host tcg --to firecracker
  inspector models expand host SYSREG_ID_AA64ISAR0_EL1_AES=1 --host guest.regs
  inspector models baseline neoverse-v1 neoverse-n2 -o ours.toml
  inspector models baseline EPYC-Rome-v4 EPYC-Milan-v2 --to qemu
  inspector models check neoverse-v1-v1 --host max --each-kernel
  inspector models find FEAT_LSE
  inspector models check ours.toml --host neoverse-n2

A model is a shipped one's name, QEMU's or libvirt's (without -vN the newest version on arm64, QEMU's alias on x86),
host for the host's own values, a file of your own (models baseline -o writes one), or a libvirt domain's XML or <cpu>.
On x86 also a line of QEMU (-cpu EPYC-v4,+x,-y), a Firecracker template, Cloud Hypervisor's --cpus, KubeVirt's virtual
machine as YAML or JSON, xl's cpuid.
The arm64 models are proposed (qemu-devel, May 2026): no released QEMU or libvirt takes what --to qmp, capabilities,
qemu, libvirt and sysreg print of them.
An arm64 host is a known core (several joined by +), a chip (grace, graviton3, altra, ...), /proc/cpuinfo of a machine,
recorded answers or a capture; an x86 host is tcg, a model, a capture, cpuid -r, /proc/cpuinfo, virsh domcapabilities
or capabilities, QEMU's expansion of host or max, a KubeVirt node. @6.12 after it names its kernel. Where only a part is
known, what an answer hangs on is said. The exit code is 1 when a model does not run on every host, or that is not
known."""

#: VMMs that a guest of either architecture is written for, and those that x86 guests are.
_BOTH = ("qemu", "libvirt")
_LINES = (*_BOTH, "firecracker", "cloud-hypervisor", "kubevirt", "xl")
_LISTS = ("text", "json", "qmp", "capabilities")
#: Forms of an answer, by command and architecture.
_TO: dict[str, dict[str, tuple[str, ...]]] = {
    "list": {ARM64: _LISTS, X86: _LISTS, "": ("text", "json")},
    "expand": {ARM64: (*_LISTS, *_BOTH, "sysreg"), X86: (*_LISTS, *_LINES)},
    "check": {ARM64: ("text", "json"), X86: ("text", "json")},
    "baseline": {ARM64: ("text", "json", "qmp", *_BOTH), X86: ("text", "json", "qmp", *_LINES)},
}
#: Words for forms that have another name now, by command.
_OLD_WORDS = {"list": {"libvirt": "capabilities"}, "": {"cpu": "qemu", "domain": "libvirt"}}
#: Options that only one architecture has.
_ONLY = {
    "each_kernel": ARM64,
    "features": ARM64,
    "save": ARM64,
    "output": ARM64,
    "each_machine": X86,
    "machine": X86,
    "qemu": X86,
}


class Command(NamedTuple):
    """A subcommand: what it does, its options in order, and its function by architecture."""

    about: str
    options: tuple[str, ...]
    run: dict[str, Callable[[argparse.Namespace], int]]


def _on_x86(name: str) -> Callable[[argparse.Namespace], int]:
    """A function of the x86 half, which is imported when it runs: a command of arm64 loads nothing of it."""

    def run_it(found: argparse.Namespace) -> int:
        from inspector.cli import models_x86

        return models_x86.run(name, found)

    return run_it


def _list_both(found: argparse.Namespace) -> int:
    """The models of both architectures, as text or JSON."""
    if found.to == "json":
        from inspector.cli import models_x86

        say_json({**head("models"), "models": [*models_arm64.list_json(found), *models_x86.list_json(found)]})
        return ExitCode.OK
    models_arm64.list_(found)
    return _on_x86("list_text")(found) if found.to == "text" else ExitCode.OK


COMMANDS = {
    "list": Command(
        "the models, and with --host whether they run there",
        ("arch", "kernel", "machine", "qemu", "host", "to", "json"),
        {ARM64: models_arm64.list_, X86: _on_x86("list_text"), "": _list_both},
    ),
    "show": Command(
        "a model's values, and where each comes from",
        ("model", "arch", "kernel", "machine", "qemu", "is_json"),
        {ARM64: models_arm64.show, X86: _on_x86("show")},
    ),
    "expand": Command(
        "what a guest gets, and what else the host accepts",
        ("model", "properties", "arch", "kernel", "machine", "qemu", "steps", "host", "save", "features", "to", "json"),
        {ARM64: models_arm64.expand, X86: _on_x86("expand")},
    ),
    "check": Command(
        "whether a model runs on hosts, and if not which properties block it",
        tuple(
            "model properties arch kernel machine qemu steps host each_kernel each_machine to json".split()  # noqa: SIM905
        ),
        {ARM64: models_arm64.check, X86: _on_x86("check")},
    ),
    "baseline": Command(
        "the best that runs on all of some hosts",
        ("hosts", "arch", "kernel", "machine", "qemu", "output", "to", "json"),
        {ARM64: models_arm64.best, X86: _on_x86("best")},
    ),
    "find": Command(
        "the property for one of Arm's names: a feature, a field, a value", ("word",), {ARM64: models_arm64.find_}
    ),
}
_X86_HOSTS = (
    "tcg, a model of QEMU (a host that has just that), a capture, cpuid -r, /proc/cpuinfo, virsh domcapabilities "
    "or capabilities, QEMU's expansion of host or max, KubeVirt's node; @RELEASE after it: its kernel"
)
_HOST_HELP = f"arm64: {arm64_named.HELP}. x86: {_X86_HOSTS}"
_OPTIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "word": (("word",), {"help": "FEAT_LSE, PARange, fpaccombine, or a part of such a name"}),
    "model": (("model",), {"help": "a model's name, a line, a file, or host"}),
    "properties": (("properties",), {"nargs": "*", "metavar": "NAME=VALUE", "help": "over the model"}),
    "hosts": (("hosts",), {"nargs": "+", "metavar": "HOST", "help": _HOST_HELP}),
    "arch": (("--arch",), {"choices": (ARM64, X86), "default": "", "help": "where the words do not tell it"}),
    "kernel": (("--kernel",), {"default": "", "metavar": "RELEASE", "help": f"of known CPUs: {kernels.HELP}"}),
    "machine": (("--machine",), {"default": "", "metavar": "TYPE", "help": "x86: QEMU's machine type (pc-q35-9.0)"}),
    "qemu": (("--qemu",), {"default": "", "metavar": "VERSION", "help": f"x86: whose models ({', '.join(VERSIONS)})"}),
    "steps": (("--steps",), {"action": "store_true", "help": "who set each field, and every call or warning"}),
    "save": (
        ("--save",),
        {"default": "", "metavar": "PATH", "help": "arm64: the guest's registers, .vcpu or list"},
    ),
    "features": (("--features",), {"action": "store_true", "help": "arm64: which FEAT_ the guest has, by Arm's names"}),
    "each_kernel": (("--each-kernel",), {"action": "store_true", "help": "arm64: the verdict on each known kernel"}),
    "each_machine": (("--each-machine",), {"action": "store_true", "help": "x86: the verdict on each machine type"}),
    "output": (("-o", "--output"), {"default": "", "metavar": "FILE", "help": "arm64: write it as your own model"}),
    "is_json": (("--json",), {"action": "store_true", "help": "as JSON"}),
    "json": (("--json",), {"dest": "to", "action": "store_const", "const": "json", "help": "as JSON"}),
}


def run(words: Sequence[str]) -> int:
    """Run one of the subcommands."""
    found = _parsed(words)
    try:
        arch = _architecture(found)
        _refuse_options_of_the_other(found, arch)
        if arch == ARM64:
            models_arm64.tell_proposed(getattr(found, "to", ""))
        return found.command.run[arch](found)  # type: ignore[no-any-return]
    except ModelError as error:
        raise UsageError(str(error)) from error


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    command = COMMANDS.get(words[0]) if words else None
    if command is not None:
        one = arguments.parser(f"models {words[0]}", command.about)
        _add_options(one, words[0])
        plain = one.plain(words[1:])
        if plain is not None:
            plain.command, plain.name = command, words[0]
            return plain
    parser = _parser()
    found, rest = parser.parse_known_args(words)
    # Properties may stand behind options too, which argparse does not take by itself.
    if not hasattr(found, "properties") or any(word.startswith("-") or "=" not in word for word in rest):
        found, rest = parser.parse_args(words), []
    if rest:
        found.properties += rest
    return found


def _parser() -> argparse.ArgumentParser:
    whole = arguments.parser("models", "Named CPU models of arm64 and x86, on a host or on many.", _EXAMPLES).whole()
    commands = whole.add_subparsers(required=True, metavar="|".join(COMMANDS))
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.about, description=command.about)
        one.set_defaults(command=command, name=name)
        _add_options(one, name)
    return whole


def _add_options(to: Parser | argparse.ArgumentParser, name: str) -> None:
    for option in COMMANDS[name].options:
        words, settings = _option(option, name)
        to.add_argument(*words, **settings)


def _option(option: str, command: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    if option == "host":
        text = _HOST_HELP + ("; again for more" if command == "check" else "")
        required = command != "list"
        return ("--host",), {"action": "append", "default": [], "metavar": "HOST", "required": required, "help": text}
    if option == "to":
        forms = dict.fromkeys(form for known in _TO[command].values() for form in known)
        old = _OLD_WORDS.get(command, _OLD_WORDS[""])
        said = {"choices": tuple(forms), "default": "text", "help": "form of the answer (default text)"}
        return ("--to",), said | {"type": lambda word: old.get(word, word)}
    return _OPTIONS[option]


def _architecture(found: argparse.Namespace) -> str:
    """What was said, or what the words tell; of a list without any of them both."""
    if set(found.command.run) == {ARM64}:
        return ARM64
    if found.arch:
        return str(found.arch)
    hosts = [*getattr(found, "hosts", ()), *getattr(found, "host", ())]
    return model_architecture.architecture_of(getattr(found, "model", ""), hosts)


def _refuse_options_of_the_other(found: argparse.Namespace, arch: str) -> None:
    for option, owner in _ONLY.items():
        if arch and owner != arch and getattr(found, option, ""):
            raise UsageError(f"--{option.replace('_', '-')} is for {owner}, and this is {arch}")
    forms = _TO.get(found.name, {}).get(arch, ())
    if forms and found.to not in forms and not arch:
        raise UsageError(f"models {found.name} --to {found.to}: --arch or --host names the architecture")
    if forms and found.to not in forms:
        raise UsageError(f"models {found.name} --to {found.to}: expected of {arch} {', '.join(forms)}")
