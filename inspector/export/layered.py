"""Boxes in layers, and arrows from each to some below it: where they stand so that arrows cross little and pass no box.

Layers by the longest way, bends where an arrow passes a layer, each layer in the order of its neighbours' middles
(Sugiyama, Tagawa and Toda 1981), then as near below them as there is room (least squares in a given order).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

_GAP_X, _GAP_Y, _BEND = 30, 60, 10
_SWEEPS = 12
#: Parts that hang together stand beside one another up to this width.
_ROW = 1600

Point = tuple[float, float]
#: A box by its number, or where the arrow between two of them passes a layer.
_Node = tuple[int, ...]


class Layered(NamedTuple):
    """The upper left corner of each box, and by arrow where its line begins, turns and ends; the size of all."""

    boxes: dict[int, Point]
    arrows: dict[tuple[int, int], list[Point]]
    width: float
    height: float


def layered(sizes: Sequence[tuple[float, float]], below: Sequence[Sequence[int]]) -> Layered:
    """Boxes of sizes, by number, and for each the numbers of those that arrows lead to."""
    boxes: dict[int, Point] = {}
    arrows: dict[tuple[int, int], list[Point]] = {}
    x = y = bottom = width = 0.0
    parts = [_Part(one, sizes, below).placed() for one in _parts(below)]
    row = max([_ROW, *(part.width for part in parts)])
    for part in parts:
        if x and x + part.width > row:
            x, y = 0.0, bottom + _GAP_Y
        boxes |= {box: (left + x, top + y) for box, (left, top) in part.boxes.items()}
        arrows |= {arrow: [(one + x, other + y) for one, other in line] for arrow, line in part.arrows.items()}
        width, bottom = max(width, x + part.width), max(bottom, y + part.height)
        x += part.width + _GAP_X
    return Layered(boxes, arrows, width, bottom)


def _parts(below: Sequence[Sequence[int]]) -> list[list[int]]:
    """What hangs together, the largest first."""
    part = list(range(len(below)))
    for one, others in enumerate(below):
        for other in others:
            here, there = part[one], part[other]
            part = [here if found == there else found for found in part]
    found: dict[int, list[int]] = {}
    for one, number in enumerate(part):
        found.setdefault(number, []).append(one)
    return sorted(found.values(), key=lambda one: -len(one))


class _Part:
    """Boxes that hang together."""

    def __init__(
        self, boxes: Sequence[int], sizes: Sequence[tuple[float, float]], below: Sequence[Sequence[int]]
    ) -> None:
        self._sizes = sizes
        self._arrows = [(one, other) for one in boxes for other in below[one]]
        self._level = _levels(boxes, below)
        self._layers: list[list[_Node]] = [[] for _ in range(1 + max(self._level.values()))]
        self._up: dict[_Node, list[_Node]] = {}
        self._down: dict[_Node, list[_Node]] = {}
        for box in boxes:
            self._layers[self._level[box]].append((box,))
        for arrow in self._arrows:
            way = self._way(*arrow)
            for node in way[1:-1]:
                self._layers[node[2]].append(node)
            for upper, lower in pairwise(way):
                self._down.setdefault(upper, []).append(lower)
                self._up.setdefault(lower, []).append(upper)

    def _way(self, one: int, other: int) -> list[_Node]:
        """An arrow from layer to layer."""
        between = range(self._level[one] + 1, self._level[other])
        return [(one,), *((one, other, level) for level in between), (other,)]

    def _width(self, node: _Node) -> float:
        return self._sizes[node[0]][0] if len(node) == 1 else _BEND

    def placed(self) -> Layered:
        """Where everything stands."""
        for sweep in range(_SWEEPS):
            self._sweep(is_down=not sweep % 2)
        middle = self._middles()
        boxes: dict[int, Point] = {}
        ends: dict[int, tuple[float, float]] = {}
        top = 0.0
        for level, layer in enumerate(self._layers):
            height = max((self._sizes[one[0]][1] for one in layer if len(one) == 1), default=0.0)
            ends[level] = top, top + height
            boxes |= {one[0]: (middle[one] - self._width(one) / 2, top) for one in layer if len(one) == 1}
            top += height + _GAP_Y
        arrows = {arrow: self._line(arrow, middle, boxes, ends) for arrow in self._arrows}
        width = max(left + self._sizes[box][0] for box, (left, _) in boxes.items())
        width = max([width, *(x for line in arrows.values() for x, _ in line)])
        return Layered(boxes, arrows, width, top - _GAP_Y)

    def _sweep(self, *, is_down: bool) -> None:
        """Put each layer into the order of its neighbours in the layer before."""
        known = self._up if is_down else self._down
        for layer in self._layers if is_down else self._layers[::-1]:
            rank = {node: at for one in self._layers for at, node in enumerate(one)}
            keys = {node: _mean((rank[one] for one in known.get(node, ())), rank[node]) for node in layer}
            layer.sort(key=lambda node: keys[node])

    def _middles(self) -> dict[_Node, float]:
        """The middle of each node: as near its neighbours' as its layer's order has room."""
        found: dict[_Node, float] = {}
        for layer in self._layers:
            found |= _spaced(layer, dict.fromkeys(layer, 0.0), self._width)
        for sweep in range(_SWEEPS):
            known = self._down if sweep % 2 else self._up
            for layer in self._layers[::-1] if sweep % 2 else self._layers:
                wanted = {node: _mean((found[one] for one in known.get(node, ())), found[node]) for node in layer}
                found |= _spaced(layer, wanted, self._width)
        left = min(middle - self._width(node) / 2 for node, middle in found.items())
        return {node: middle - left for node, middle in found.items()}

    def _line(
        self,
        arrow: tuple[int, int],
        middle: Mapping[_Node, float],
        boxes: Mapping[int, Point],
        ends: Mapping[int, tuple[float, float]],
    ) -> list[Point]:
        first, *bends, last = self._way(*arrow)
        passed = [(middle[node], end) for node in bends for end in ends[node[2]]]
        begin = boxes[arrow[0]][1] + self._sizes[arrow[0]][1]
        under = ends[self._level[arrow[0]]][1]
        left = [(middle[first], begin), *([(middle[first], under)] if under > begin else [])]
        return [*left, *passed, (middle[last], boxes[arrow[1]][1])]


def _levels(boxes: Iterable[int], below: Sequence[Sequence[int]]) -> dict[int, int]:
    """How deep a box stands: one below the deepest of those that lead to it. What goes round ends somewhere."""
    levels = dict.fromkeys(boxes, 0)
    for _ in range(len(levels)):
        deeper = [(box, other) for box in levels for other in below[box] if levels[other] <= levels[box]]
        for box, other in deeper:
            levels[other] = levels[box] + 1
        if not deeper:
            break
    return levels


def _mean(values: Iterable[float], otherwise: float) -> float:
    found = list(values)
    return sum(found) / len(found) if found else otherwise


def _spaced(
    layer: Sequence[_Node], wanted: Mapping[_Node, float], width: Callable[[_Node], float]
) -> dict[_Node, float]:
    """Middles in order, apart, by least squares near those that are wanted: runs that overlap share a mean."""
    offsets, at = [], 0.0
    for node in layer:
        offsets.append(at + width(node) / 2)
        at += width(node) + _GAP_X
    runs: list[tuple[float, int]] = []
    for node, offset in zip(layer, offsets, strict=True):
        runs.append((wanted[node] - offset, 1))
        while len(runs) > 1 and runs[-2][0] > runs[-1][0]:
            (one, here), (other, there) = runs.pop(), runs.pop()
            runs.append(((one * here + other * there) / (here + there), here + there))
    starts = [start for start, count in runs for _ in range(count)]
    return {node: start + offset for node, start, offset in zip(layer, starts, offsets, strict=True)}
