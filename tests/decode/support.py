"""What several tests of decoding need."""

from __future__ import annotations

from inspector.decode.placement import compacted_places, table_from_layout

MASK = 0xE02E7 | 0x1DD00


def compacted(mask: int, bv: int) -> bytes:
    """Every component's bytes are its number."""
    places = compacted_places(table_from_layout("apx"), mask)
    data = bytearray(places[-1].offset + places[-1].size_bytes)
    data[0:2] = (0x37F).to_bytes(2, "little")
    data[24:28] = (0x1F80).to_bytes(4, "little")
    data[512:520] = bv.to_bytes(8, "little")
    data[520:528] = (mask | 1 << 63).to_bytes(8, "little")
    for place in places:
        data[place.offset : place.offset + place.size_bytes] = bytes([place.component]) * place.size_bytes
    return bytes(data)
