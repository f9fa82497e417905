"""Colours of ours that can be read in every theme: WCAG 2.2, 1.4.3, at least 4.5 to 1 for text."""

from __future__ import annotations

from collections.abc import Mapping

from textual.color import BLACK, WHITE, Color

_LEAST = 4.5
#: Of the line that is looked at and of titles, where black or white has it: WCAG 2.2, 1.4.6.
_CLEAR = 7.0
_STEPS = 20


def ratio(one: Color, other: Color) -> float:
    """The contrast ratio of two opaque colours, 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: Color) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [part / 255 for part in (color.r, color.g, color.b)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def clear(color: Color, ground: Color) -> Color:
    """As legible(), with more contrast where the ground allows it."""
    reachable = max(ratio(end, ground) for end in (BLACK, WHITE)) >= _CLEAR
    return legible(color, ground, least=_CLEAR if reachable else _LEAST)


def legible(color: Color, *grounds: Color, least: float = _LEAST) -> Color:
    """The colour, as far towards black or white as it must be to be read on all grounds."""
    if min(ratio(color, ground) for ground in grounds) >= least:
        return color
    ends = sorted((BLACK, WHITE), key=lambda end: -min(ratio(end, ground) for ground in grounds))
    shades = (color.blend(ends[0], step / _STEPS) for step in range(_STEPS + 1))
    return next((shade for shade in shades if min(ratio(shade, g) for g in grounds) >= least), ends[0])


def bright(colour: str) -> str:
    """Of the terminal's own colours the brighter one: on black, blue and red are hardly seen."""
    name = colour.removeprefix("ansi_")
    return colour if name == "default" or name.startswith("bright_") else f"ansi_bright_{name}"


def line_colours(theme: Mapping[str, str], *, ansi: bool, dark: bool = True) -> dict[str, str]:
    """Our CSS variables for a theme's: text of titles, of every kind of line, of the cursor, and marked bytes.

    ``ansi``: it leaves colours to the terminal, whose ground is ``dark``.
    """
    if ansi:
        # The terminal's own palette: what it looks like is not known here.
        own = bright if dark else str
        text = dict.fromkeys(("on-title", "line-text", "line-quiet"), "ansi_default")
        # Bright black is a grey; the default of a dark terminal is one too.
        text["on-cursor-blurred"] = "ansi_bright_white" if dark else "ansi_default"
        # On blue, in a light terminal too, where the default is black.
        text |= dict.fromkeys(("on-cursor", "on-mark"), "ansi_bright_white")
        grounds = {"cursor-blurred": "ansi_bright_black", "mark": "ansi_blue"}
        told = {"heading": "accent", "changed": "warning", "good": "success", "bad": "error"}
        lines = {f"line-{name}": own(theme[of]) for name, of in told.items()}
        lines |= dict.fromkeys(("pane-edge", "pane-title"), own(theme["primary"]))
        return {**text, **grounds, **lines, "key-word": own(theme["accent"]), "key-label": "ansi_default"}
    names = ("primary", "accent", "warning", "success", "error", "foreground", "surface")
    colour = {name: Color.parse(theme[name]) for name in names}
    background = Color.parse(theme["background"])
    panes = (colour["surface"], background, background + Color.parse(theme["panel"]))
    blurred = colour["surface"].blend(colour["primary"], 0.4)
    mark = colour["surface"].blend(colour["accent"], 0.5)
    found = {
        "line-text": legible(colour["foreground"], *panes),
        "line-heading": legible(colour["accent"], *panes),
        "line-changed": legible(colour["warning"], *panes),
        "line-good": legible(colour["success"], *panes),
        "line-bad": legible(colour["error"], *panes),
        "pane-edge": colour["primary"],
        "pane-title": legible(colour["primary"], *panes),
        "key-word": legible(Color.parse(theme["footer-key-foreground"]), Color.parse(theme["footer-background"])),
        "key-label": legible(colour["foreground"], Color.parse(theme["footer-background"])),
        "line-quiet": legible(background.blend(colour["foreground"], 0.55), *panes),
        "cursor-blurred": blurred,
        "mark": mark,
        "on-title": clear(colour["foreground"], Color.parse(theme["primary-background"])),
        "on-cursor": clear(colour["foreground"], colour["primary"]),
        "on-cursor-blurred": clear(colour["foreground"], blurred),
        "on-mark": legible(colour["foreground"], mark),
    }
    return {name: shade.hex6 for name, shade in found.items()}
