"""Objects of Kubernetes in YAML as in JSON: machines and nodes of KubeVirt, as kubectl prints and people write them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from inspector.capture.errors import InputError, UsageError
from inspector.cli.main import main
from inspector.fleet.gather import gather
from inspector.readers.kubernetes import looks_like_yaml, objects_of
from inspector.readers.yaml_text import parse_yaml
from inspector.targets.x86_models import asked_of
from inspector.targets.x86_offers import offer_named

MACHINES = """\
# kubectl get vmi -A -o yaml
---
apiVersion: v1
items:
- apiVersion: kubevirt.io/v1
  kind: VirtualMachineInstance
  metadata:
    annotations:
      note: {it: 'it''s "quoted"'}
      "long": >-
        folded
        lines: too
    name: web
    namespace: default
  spec:
    domain:
      cpu:
        cores: 4
        features:
        - name: pcid
          policy: disable
        - {name: avx2}
        model: Haswell-noTSX  # as installed
      machine:
        type: pc-q35-9.0
- apiVersion: kubevirt.io/v1
  kind: VirtualMachine
  metadata:
    name: db
  spec:
    template:
      spec:
        domain:
          cpu: {model: host-passthrough}
kind: List
metadata:
  resourceVersion: ""
"""
NODE = """\
- apiVersion: v1
  kind: Node
  metadata:
    labels:
      cpu-feature.node.kubevirt.io/avx2: "true"
      cpu-feature.node.kubevirt.io/erms: "true"
      cpu-model.node.kubevirt.io/Haswell: "true"
      cpu-vendor.node.kubevirt.io/Intel: "true"
      host-model-cpu.node.kubevirt.io/Broadwell: "true"
    name: {name}
  status:
    nodeInfo:
      architecture: amd64
      kernelVersion: 6.1.0-18-amd64
"""
NODES = "apiVersion: v1\nitems:\n" + "".join(NODE.format(name=name) for name in ("n1", "n2")) + "kind: List\n"


def test_machines_are_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "vms.yaml"
    path.write_text(MACHINES)
    asked = asked_of(f"{path}:web")
    assert asked.request.name == "Haswell-noTSX"
    assert asked.request.switches == {"pcid": False, "avx2": True}
    assert asked.request.machine.name == "pc-q35-9.0"
    assert asked_of(f"{path}:db").request.name == "host"
    with pytest.raises(UsageError, match=r"expected one virtual machine, found 2: web, db; .*vms.yaml:web names one"):
        asked_of(str(path))
    with pytest.raises(UsageError, match=r"vms.yaml:api: expected a virtual machine of that name, found web, db"):
        asked_of(f"{path}:api")
    (tmp_path / "vms.json").write_text(json.dumps({"items": objects_of(MACHINES, "")}))
    assert asked_of(f"{tmp_path / 'vms.json'}:web")[1:] == asked[1:]


def test_nodes_are_hosts_in_each_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nodes.yaml"
    path.write_text(NODES)
    offer = offer_named(f"{path}:n2@6.12")
    assert (offer.name, offer.vendor, offer.has("erms"), offer.kernel) == ("n2", "GenuineIntel", True, "6.12")
    assert [facts.name for facts in gather(str(path))] == ["n1", "n2"]
    with pytest.raises(UsageError, match="expected one node, found 2: n1, n2"):
        offer_named(str(path))
    assert main(["models", "check", "Haswell,-pcid", "--host", f"{path}:n1"]) == 1
    assert "on n1" in capsys.readouterr().out
    assert main(["migrate", "model:Haswell:Haswell", f"{path}:n1"]) == 1
    assert "n1" in capsys.readouterr().out
    (tmp_path / "vm.yaml").write_text("cpu:\n  model: Haswell\n")
    for host in (":Haswell", ""):
        assert main(["migrate", f"model:{tmp_path / 'vm.yaml'}{host}", f"{path}:n1"]) == 1
        assert "n1" in capsys.readouterr().out
    assert main(["migrate", f"model:{path}:Haswell", "Haswell"]) == 3
    assert "expected a virtual machine of KubeVirt, found objects: Node" in capsys.readouterr().err
    assert main(["migrate", "model:Haswell:Haswell", str(path)]) == 2
    assert "found 2: n1, n2" in capsys.readouterr().err


def test_a_node_without_labels_says_so(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("apiVersion: v1\nkind: Node\nmetadata:\n  name: n1\n  labels: {kubernetes.io/os: linux}\n")
    for text in (path.read_text(), json.dumps(objects_of(path.read_text(), "")[0])):
        path.write_text(text)
        with pytest.raises(InputError, match="KubeVirt's labels"):
            offer_named(str(path))


def test_values_of_yaml() -> None:
    text = 'a: "true"\nb: true\nc: 007\nd: null\ne:\nf: |\n  two\n  lines\n"g h": [x, "y: z", {}]\n---\n- ~\n'
    first, second = parse_yaml(text)
    assert first == {
        "a": "true",
        "b": True,
        "c": "007",
        "d": None,
        "e": None,
        "f": "two\nlines\n",
        "g h": ["x", "y: z", {}],
    }
    assert second == [None]
    assert not looks_like_yaml("Architecture:   x86_64\n")
    assert not looks_like_yaml(" " * 60000 + "x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: &a x\nitems: *a\n", "an alias (*a) in line 2: write it out"),
        ("items: " + "[" * 200000, "values nested deeper than 64 in line 1"),
        ("items: " + "{a: " * 200000, "values nested deeper than 64 in line 1"),
        ("kind: x\n- y\n", "no YAML: did not find expected key in line 2"),
        ("kind: 'x\n", "no YAML: found unexpected end of stream"),
        ("kind: \0\n", "no YAML: unacceptable character"),
        ("kind: x\n? [a]\n: b\n", "a key that is no text in line 2"),
        ("spec: x\n", "a virtual machine of KubeVirt, found objects: no kind"),
        ("kind: Pod\nmetadata: {name: p}\n", "a virtual machine of KubeVirt, found objects: Pod"),
    ],
)
def test_yaml_that_is_no_machine(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "vm.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(said)):
        asked_of(str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1}\n{"b": 2}\n', "expected one JSON document, found 2, a line each; inspector fleet add reads"),
        ('{"name": "h1", "capture": {}}\n{"name": "h2"}\n', "found 2, a line each (h1, h2); inspector fleet add"),
        ('[{"a": 1}, {"b": 2}]', "expected one JSON document, found a list of 2; a line each, inspector fleet add"),
        ('{"a": 1} x\n{"b"', "expected JSON, found Extra data"),
    ],
)
def test_several_documents_are_no_host(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "hosts.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(said)):
        offer_named(str(path))
