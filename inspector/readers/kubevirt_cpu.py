"""KubeVirt: the CPU of a virtual machine, and the labels of a node.

Source: KubeVirt docs, "Virtual hardware"; pkg/virt-handler/node-labeller/node_labeller.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from inspector.capture.cpu_line import HOST, CpuLine
from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

_SUFFIX = ".node.kubevirt.io/"
#: What text of a node with KubeVirt's labels has.
LABEL = _SUFFIX.encode()
_ON = ("force", "require", "optional")
_MODES = {"host-passthrough": HOST, "host-model": "host-model", "": "host-model"}


class NodeLabels(NamedTuple):
    """What the labels of a node say: features and models that it has, and its host-model.

    ``architecture`` is Kubernetes' word (``amd64``), ``kernel`` the release that the node runs; empty where untold.
    """

    name: str
    features: frozenset[str]
    models: frozenset[str]
    host_model: str
    required: frozenset[str]
    vendor: str
    architecture: str = ""
    kernel: str = ""


def parse_virtual_machine(found: Any) -> CpuLine | None:
    """A virtual machine, an instance of one, or the part of it with ``domain`` or ``cpu``; None for another object."""
    parts = (_at(found, *path) for path in (("spec", "template", "spec", "domain"), ("spec", "domain"), ("domain",)))
    domain = next((part for part in parts if isinstance(part, dict)), found if "cpu" in found else None)
    if not isinstance(domain, dict):
        return None
    cpu = domain.get("cpu") if isinstance(domain.get("cpu"), dict) else {}
    assert isinstance(cpu, dict)
    entries = cpu.get("features")
    policies = {
        str(entry["name"]): str(entry.get("policy") or "require")
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and entry.get("name")
    }
    model = str(cpu.get("model") or "")
    machine = _at(domain, "machine", "type")
    return CpuLine(
        "kubevirt",
        _MODES.get(model, model),
        {name: policy in _ON for name, policy in policies.items()},
        policies=policies,
        machine=machine if isinstance(machine, str) else "",
    )


def parse_virtual_machines(objects: Iterable[dict[str, Any]]) -> dict[str, CpuLine]:
    """The virtual machines of ``kubectl get vm`` or ``vmi`` by name, with the namespace where two have one name."""
    found: dict[str, CpuLine] = {}
    for entry in objects:
        line = parse_virtual_machine(entry)
        name = str(_at(entry, "metadata", "name") or "cpu")
        if line is not None:
            found[f"{_at(entry, 'metadata', 'namespace')}/{name}" if name in found else name] = line
    return found


def parse_nodes(objects: Iterable[dict[str, Any]]) -> Iterator[NodeLabels]:
    """The nodes of ``kubectl get nodes`` that have KubeVirt's labels."""
    for item in objects:
        labels = _at(item, "metadata", "labels")
        if isinstance(labels, dict) and any(_SUFFIX in str(key) for key in labels):
            told = {key: str(_at(item, "status", "nodeInfo", key) or "") for key in ("architecture", "kernelVersion")}
            yield _node(str(_at(item, "metadata", "name") or "node"), labels)._replace(
                architecture=told["architecture"] or str(labels.get("kubernetes.io/arch", "")),
                kernel=told["kernelVersion"],
            )


def _node(name: str, labels: dict[str, Any]) -> NodeLabels:
    found: dict[str, set[str]] = {}
    for key, value in labels.items():
        kind, suffix, word = str(key).partition(_SUFFIX)
        if suffix and str(value).lower() == "true":
            found.setdefault(kind, set()).add(word)

    def of(kind: str) -> frozenset[str]:
        return frozenset(found.get(kind, ()))

    return NodeLabels(
        name,
        of("cpu-feature"),
        of("cpu-model"),
        next(iter(sorted(of("host-model-cpu"))), ""),
        of("host-model-required-features"),
        next(iter(sorted(of("cpu-vendor"))), ""),
    )


def _at(found: Any, *keys: str) -> Any:
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found
