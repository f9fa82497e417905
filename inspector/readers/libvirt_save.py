"""libvirt save images (``virsh save``): a header, the domain XML, the QEMU stream.

Source: libvirt ``src/qemu/qemu_saveimage.h``, struct _virQEMUSaveHeader.
"""

from __future__ import annotations

import re
import struct

from inspector.capture.errors import InputError, visible
from inspector.capture.model import Area, Capture, Origin
from inspector.readers import qemu_stream
from inspector.readers.options import Options
from inspector.readers.source import PartSource, Source, unpacked
from layouts.files import qemu

_XML_LIMIT_BYTES = 16 << 20
_COMPRESSION = {0: "raw", 1: "gzip", 2: "bzip2", 3: "xz", 4: "lzop", 5: "zstd"}


def read(source: Source, _options: Options) -> Capture:
    """A save image as the capture of its stream; the CPU model of the XML is told."""
    header = source.read_exactly(0, qemu.LIBVIRT_HEADER_SIZE_BYTES, "a libvirt save header")
    version, xml_size, _running, compressed = struct.unpack_from("<4I", header, 16)
    if version > 0xFFFF:
        version, xml_size, _running, compressed = struct.unpack_from(">4I", header, 16)
    if not 1 <= version <= 2 or xml_size > _XML_LIMIT_BYTES:
        raise InputError(source.name, "a libvirt save image of version 1 or 2", f"version {version}", 16)
    xml_at = qemu.LIBVIRT_HEADER_SIZE_BYTES
    xml = source.read_exactly(xml_at, xml_size, "the domain XML")
    stream_at = xml_at + xml_size
    part = PartSource(source, stream_at)
    stream = unpacked(part)
    if not stream.read(0, 4).startswith(qemu.MAGIC):
        kind = _COMPRESSION.get(compressed, str(compressed))
        raise InputError(source.name, "a QEMU stream behind the XML", f"{kind} compression", stream_at)
    capture = qemu_stream.read_at(stream, 0, source.name, "libvirt-save", _cpu_model(xml))
    area = Area("raw", "libvirt.xml", "domain XML", xml, Origin(source.name, xml_at))
    capture.context.insert(0, area)
    capture.notices += stream.notices
    return capture


def _cpu_model(xml: bytes) -> str:
    """What ``<cpu>`` says, for people: the mode and the model's name."""
    text = xml.decode("utf-8", "replace")
    # A tag ends before the next one begins: so no byte is looked at twice.
    mode = re.search(r"<cpu\b[^<>]*?\bmode=['\"]([^'\"<>]{1,64})", text)
    model = re.search(r"<model\b[^<>]*+>([^<]{1,64})</model>", text)
    words = [visible(found[1]) for found in (mode, model) if found]
    return f"cpu {' '.join(words)}" if words else ""
