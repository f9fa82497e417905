"""How much is sent to the terminal for what one does most: over a slow line that is what people feel."""

from __future__ import annotations

import pytest
from textual._compositor import CompositorUpdate

from inspector.cli.open import app_of
from tests.tui.support import opened

#: Bytes that a key may send at 160 by 45.
MOST = 8 * 1024


@pytest.mark.parametrize(
    ("target", "ahead", "keys"),
    [
        ("sample:amx/process.core", (), ("slash", "escape", "colon", "escape", "tab", "j")),
        ("sample:zen5-kvm", ("c",), ("slash", "escape", "j")),
        ("sample:zen5-kvm", ("exclamation_mark",), ("j",)),
    ],
)
async def test_keys_send_little(target: str, ahead: tuple[str, ...], keys: tuple[str, ...]) -> None:
    app = app_of(target)
    sent: list[int] = []
    display = app._display

    def counted(screen: object, update: object) -> None:
        if isinstance(update, CompositorUpdate):
            sent.append(len(update.render_segments(app.console).encode()))
        display(screen, update)

    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot)
        await pilot.press(*ahead)
        await pilot.pause()
        app._display = counted
        for key in keys:
            sent.clear()
            await pilot.press(key)
            await pilot.pause()
            assert 0 < sum(sent) <= MOST, key
