"""``-cpu MODEL,+x,-y,x=on,enforce``, as QEMU reads it.

Source: QEMU target/i386/cpu.c, x86_cpu_parse_featurestr.
"""

from __future__ import annotations

from inspector.capture.cpu_line import CpuLine

_SWITCHES = {"on": True, "off": False, "yes": True, "no": False, "true": True, "false": False, "y": True, "n": False}
_NEVER_FEATURES = frozenset({"check", "enforce", "migratable", "pmu", "kvm", "host-phys-bits", "l3-cache", "lmce"})


def parse_qemu_cpu(text: str) -> CpuLine:
    """A line, with or without ``-cpu`` and what stands around it. Raises ValueError for one that has no model.

    A name with ``+`` or ``-`` counts after all ``name=value``, and ``-`` after ``+``; ``,,`` is a comma in a value.
    """
    line, machine = _cpu_of(text)
    name, *words = _split(line)
    if not name:
        raise ValueError("expected the name of a CPU model before the first comma")
    plus: dict[str, bool] = {}
    minus: dict[str, bool] = {}
    switches: dict[str, bool] = {}
    properties: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.replace("_", "-") if key.startswith(("hv_", "kvm_")) else key
        if word[:1] in "+-" and word[1:]:
            (plus if word[0] == "+" else minus)[word[1:]] = word[0] == "+"
        elif not key or word in "+-":
            raise ValueError(f"expected +feature, -feature or property=value, found {word[:40]!r}")
        elif (value.lower() in _SWITCHES or not equals) and key not in _NEVER_FEATURES:
            switches[key] = _SWITCHES[value.lower()] if equals else True
        else:
            properties[key] = value if equals else "on"
    return CpuLine("qemu", name, switches | plus | minus, properties, machine=machine)


def _cpu_of(text: str) -> tuple[str, str]:
    """The value of ``-cpu``, and the machine type of a whole command line."""
    import shlex

    if "-cpu" not in text.split():
        return text.strip(), ""
    words = shlex.split(text)
    at = words.index("-cpu")
    if at + 1 == len(words):
        raise ValueError("expected a CPU model after -cpu")
    machine = next((words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-M", "-machine", "--machine")), "")
    return words[at + 1], machine.split(",")[0].removeprefix("type=")


def _split(line: str) -> list[str]:
    """At single commas; two are one."""
    return [part.replace("\0", ",") for part in line.replace(",,", "\0").split(",")]
