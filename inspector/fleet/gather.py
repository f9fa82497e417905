"""A target as facts: any capture, a program's words about its host, or all nodes of a cluster."""

from __future__ import annotations

import os

from inspector.capture.errors import InputError
from inspector.capture.model import Capture
from inspector.fleet.facts import Facts
from inspector.readers.kubernetes import MAX_OBJECTS_BYTES, looks_like_yaml, objects_of
from inspector.readers.kubevirt_cpu import LABEL, parse_nodes

#: Words about one host are in the first MiB.
_WORDS_BYTES = 1 << 20
#: Kubernetes' word for x86; without one the labels tell.
_X86_WORDS = ("", "amd64", "x86_64")


def gather(target: str) -> list[Facts]:
    """The facts of a target, one or as many as it has nodes. Raises InputError and UsageError.

    ``name`` is empty where the target has one capture, whose name is the target's.
    """
    if os.path.isfile(target):
        found = _of_words(target)
        if found:
            return found
    from inspector.targets.schemes import capture_of

    return [facts_of_capture(capture_of(target))]


def facts_of_capture(capture: Capture) -> Facts:
    """The host and the guest of a capture. Raises InputError where it has neither CPUID nor ID registers."""
    kernel = capture.host.kernel
    if any(vcpu.arch == "arm64" for vcpu in capture.vcpus[:1]):
        from inspector.fleet import arm64

        shown = arm64.facts_of(capture)
        return Facts("", shown, None if arm64.is_of_host(shown) else shown, kernel)
    from inspector.fleet import x86

    return Facts("", x86.host_facts(capture), x86.guest_facts(capture), kernel)


def _of_words(path: str) -> list[Facts]:
    """What programs say of hosts in words; empty for a capture."""
    with open(path, "rb") as file:
        head = file.read(_WORDS_BYTES)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start in (b"{", b"[") or looks_like_yaml(head.decode("utf-8", "replace")):
        return _nodes(path) or _offer(path)
    if start == b"<" or b"flags" in head or b"Flags" in head:
        return _arm64_words(head) or _offer(path)
    return _arm64_words(head) if b"Features" in head else []


def _arm64_words(head: bytes) -> list[Facts]:
    from inspector.fleet import arm64
    from inspector.readers.arm64_cpuinfo import parse_cpuinfo

    words = parse_cpuinfo(head.decode("utf-8", "replace"))
    return [Facts("", arm64.words_facts(words), None)] if words is not None else []


def _offer(path: str) -> list[Facts]:
    from inspector.fleet import x86
    from inspector.targets.x86_offers import offer_of_text

    offer = offer_of_text(path)
    return [Facts("", x86.offer_facts(offer), None, offer.kernel)] if offer is not None else []


def _nodes(path: str) -> list[Facts]:
    """The x86 nodes of ``kubectl get nodes`` as JSON or YAML, with KubeVirt's labels."""
    if os.path.getsize(path) > MAX_OBJECTS_BYTES:
        return []
    with open(path, "rb") as file:
        data = file.read(MAX_OBJECTS_BYTES)
    if LABEL not in data:
        return []
    from inspector.fleet import x86
    from inspector.targets.x86_offers import offer_of_node

    nodes = list(parse_nodes(objects_of(data.decode("utf-8", "replace"), path)))
    found = [offer_of_node(node) for node in nodes if node.architecture in _X86_WORDS]
    if nodes and not found:
        raise InputError(path, "nodes of x86 (KubeVirt labels features of x86 alone)", nodes[0].architecture)
    return [Facts(offer.name, x86.offer_facts(offer), None, offer.kernel) for offer in found]
