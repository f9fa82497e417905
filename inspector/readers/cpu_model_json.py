"""QMP answers about CPU models: query-cpu-model-expansion and query-cpu-definitions."""

from __future__ import annotations

from typing import Any

from inspector.capture.errors import InputError, visible
from inspector.capture.host import Host
from inspector.capture.model import Area, Capture, Vcpu
from inspector.readers.json_file import malformed
from inspector.readers.named_values import facts_area
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.text import shown


def from_json(found: Any, source: Source, _options: Options) -> Capture:
    """Properties of one model, or the definitions of many."""
    answer = found
    if isinstance(found, dict) and isinstance(found.get("error"), dict):
        said = " ".join(str(found["error"].get(key, "")) for key in ("class", "desc")).strip()
        raise InputError(source.name, "an answer of QEMU", f"a refusal: {said}")
    for key in ("reply", "return"):
        if isinstance(answer, dict) and key in answer:
            answer = answer[key]
    if isinstance(answer, dict) and isinstance(answer.get("model"), dict):
        return _expansion(answer["model"], source)
    if isinstance(answer, list) and answer and isinstance(answer[0], dict) and "cpu-index" in answer[0]:
        what = f"query-cpus-fast: {len(answer)} CPUs by index and thread, no registers"
        raise InputError(source.name, "a CPU model or a list of them", f"{what}; `info registers -a` prints those")
    if isinstance(answer, list):
        return _definitions(answer, source)
    raise malformed(source, "a CPU model or a list of them", answer)


def _properties(values: dict[str, Any], prefix: str, title: str, source: Source) -> Area:
    """Named values that have no bytes."""
    rows = ((str(key), _text(value)) for key, value in sorted(values.items()))
    return facts_area(rows, prefix, title, source.name)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else shown(value, 1000)


def _expansion(model: dict[str, Any], source: Source) -> Capture:
    props = model.get("props", {})
    if not isinstance(props, dict):
        raise malformed(source, "properties of the model", props)
    name = visible(_text(model.get("name", "?")))
    area = model_area(name, props, source)
    arch = "arm64" if "aarch64" in props or "pauth" in props else "x86"
    return Capture(source.name, "qmp-model", [Vcpu(0, name, arch, [area])], host=Host(about=f"CPU model {name}"))


def model_area(name: str, props: dict[str, Any], source: Source) -> Area:
    """What query-cpu-model-expansion says of a model."""
    return _properties(props, "props", f"properties of the model {name}", source)


def _definitions(rows: list[Any], source: Source) -> Capture:
    vcpus: list[Vcpu] = []
    for row in rows:
        if not isinstance(row, dict) or "name" not in row:
            raise malformed(source, "a CPU definition", row)
        values = {key: ", ".join(map(_text, value)) if isinstance(value, list) else value for key, value in row.items()}
        area = _properties(values, "definition", "CPU definition", source)
        vcpus.append(Vcpu(len(vcpus), visible(_text(row["name"])), "model", [area]))
    return Capture(source.name, "qmp-definitions", vcpus)
