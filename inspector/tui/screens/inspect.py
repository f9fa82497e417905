"""The Inspect screen: vCPUs and areas, fields, bytes, and everything about one field."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from inspector.capture.errors import EditError, InspectorError
from inspector.tui import keys
from inspector.tui.key import bindings
from inspector.tui.screens.inspect_doors import DOOR_ACTIONS, actions_of
from inspector.tui.screens.inspect_lookup import LookupScreen
from inspector.tui.state import Place
from inspector.tui.wanted import EditsWanted
from inspector.tui.widgets.detail_pane import DetailPane
from inspector.tui.widgets.field_list import FieldList
from inspector.tui.widgets.hex_pane import HexPane
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.line_view import LineView
from inspector.tui.widgets.target_tree import TargetTree

if TYPE_CHECKING:
    from inspector.capture.model import Capture
    from inspector.readers.options import Options
    from inspector.tui.session import Session
    from inspector.tui.state import State


#: Columns from which there is more room for names, and from which the detail stands beside the fields.
_WIDTHS = [(0, "-narrow"), (100, "-middle"), (130, "-wide")]


class InspectScreen(LookupScreen):
    """Look at a capture and edit it in an overlay."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.INSPECT)
    keys_name = "inspect"

    DEFAULT_CSS = """
    #title { height: 1; background: $primary-background; color: $text; text-style: bold; padding: 0 1; }
    #notice { height: auto; max-height: 2; display: none; color: $warning; padding: 0 1; }
    #notice.shown { display: block; }
    TargetTree { width: 17; background: $panel; }
    FieldList { height: 1fr; padding: 0 0 0 1; }
    HexPane { height: 4; padding: 0 0 0 1; background: $panel; }
    DetailPane { height: 8; }
    #middle { height: 1fr; }
    InspectScreen.-middle TargetTree { width: 20; }
    InspectScreen.-wide TargetTree { width: 24; }
    InspectScreen.-wide #panes { layout: horizontal; }
    InspectScreen.-wide #middle { width: 1fr; }
    InspectScreen.-wide DetailPane { width: 44%; height: 1fr; }
    InspectScreen.-wide HexPane { height: 14; }
    InspectScreen.-maximized-view DetailPane { width: 100%; height: 1fr; }
    """
    HORIZONTAL_BREAKPOINTS = _WIDTHS

    AUTO_FOCUS = "FieldList"

    def __init__(self, fill: Callable[[InspectScreen], Awaitable[None]] | None = None) -> None:
        """``fill`` is called when there are panes, before they are painted."""
        super().__init__()
        self._fill = fill

    async def on_mount(self) -> None:
        """What is there already is in the first frame."""
        if self._fill is not None:
            await self._fill(self)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Until the capture is there, and while something is typed, the screen's keys are off.

        While something is typed the footer does not offer them.
        """
        if action in _SCREEN_ACTIONS and self.session is None:
            return None
        typing = self.focused is not None and self.focused.id == "prompt-input"
        return super().check_action(action, parameters) and not (typing and action in _SCREEN_ACTIONS)

    def compose(self) -> ComposeResult:
        """The panes, empty until the capture is there."""
        # What the first resize would say, said before there are styles to be made anew for it.
        self.add_class(next(name for least, name in reversed(_WIDTHS) if self.app.size.width >= least))
        yield Static("inspector", id="title", markup=False)
        yield Static("", id="notice", markup=False)
        with Horizontal():
            yield TargetTree()
            with Vertical(id="panes"):
                with Vertical(id="middle"):
                    yield FieldList()
                    yield HexPane()
                yield DetailPane()
        yield KeyLine()

    def unsaved(self) -> str:
        """See KeyedScreen."""
        edits = self.session.unsaved_edits() if self.session is not None else []
        if not edits:
            return ""
        last = f"the edit {edits[0].label}" if len(edits) == 1 else f"{len(edits)} edits, the last {edits[-1].label},"
        return f"{last} would be lost: again leaves; S saves them, v lists them"

    async def show_capture(
        self,
        capture: Capture,
        path: str = "",
        vcpu_number: int = 0,
        options: Options | None = None,
        elements: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Fill the panes, at a field if one is named. What only this needs is imported here, behind the first frame."""
        from inspector.tui.session import Session

        await self.show_session(Session(capture, options, elements), path, vcpu_number)

    async def show_session(self, session: Session, path: str = "", vcpu_number: int = 0) -> None:
        """The same for a capture on which somebody works already."""
        from inspector.tui.titles import notice_of

        if not self._has_panes:
            return
        self.session = session
        self.query_one(FieldList).focus()
        if path:
            self.session.select_vcpu(vcpu_number)
            self.session.jump(path)
        self.say(notice_of(session.capture))
        self.session.is_linted = False
        self.show_all()
        self.refresh_bindings()
        self.call_after_refresh(self._complete)

    async def _complete(self) -> None:
        """What the first frame did not wait for: a line to type in, what lint says."""
        from inspector.tui.widgets.prompt import Prompt

        if self._has_panes and not self.query(Prompt):
            await self.mount(Prompt(), before=self.query_one(KeyLine))
        if self._has_panes and self.session is not None:
            self.session.is_linted = True
            self.show_all()

    @property
    def _has_panes(self) -> bool:
        """The screen has not been left: that can happen at any time."""
        return self.is_attached and bool(self.query(KeyLine))

    @property
    def is_complete(self) -> bool:
        """See KeyedScreen."""
        return self.is_mounted and (self.session is None or self.session.is_linted)

    def keep_place(self, state: State) -> None:
        """See KeyedScreen: a target's own screen, not one over a lab or a comparison."""
        if self.session is None or self.keys_name != "inspect":
            return
        state.elements.update(self.session.elements.chosen)
        field = self.session.field()
        if field is not None:
            state.left(self.session.capture.target, Place(field.path, self.session.vcpu_number))

    def say(self, words: str) -> None:
        """A line below the title; nothing takes it away."""
        notice = self.query_one("#notice", Static)
        notice.update(words)
        notice.set_class(bool(words), "shown")

    def on_screen_resume(self) -> None:
        """A screen above may have gone elsewhere in this capture, or edited it."""
        if self.is_complete:
            self.show_all()

    # Painting

    def show_all(self) -> None:
        """Paint every pane anew."""
        if self.session is None:
            return
        self.query_one(TargetTree).show(self.session)
        self.query_one(FieldList).show(self.session)
        self._show_selection()

    def _show_selection(self) -> None:
        """What depends on the selected field: title, bytes, detail."""
        assert self.session is not None
        self.show_title()
        self.query_one(HexPane).show(self.session)
        self._show_detail()

    def show_title(self) -> None:
        """Paint what is above the panes anew."""
        from inspector.tui.titles import title_of

        assert self.session is not None
        self.query_one("#title", Static).update(title_of(self.session), layout=False)

    def _show_detail(self) -> None:
        assert self.session is not None
        self.query_one(DetailPane).show(self.session)

    # Moving

    @on(LineView.Moved, "TargetTree")
    def _target_moved(self, event: LineView.Moved) -> None:
        assert self.session is not None
        tree = self.query_one(TargetTree)
        vcpu, area = tree.line_at(event.line)
        if area is not None:
            self.session.select_area(area)
        elif vcpu != self.session.vcpu_number:
            self.session.select_vcpu(vcpu)
        tree.resized()
        if area is None:
            tree.place(tree.line_of_vcpu(vcpu))
        self.query_one(FieldList).show(self.session)
        self._show_selection()

    @on(LineView.Moved, "FieldList")
    def _field_moved(self, event: LineView.Moved) -> None:
        assert self.session is not None
        if self.session.rows is not None and event.line < len(self.session.rows.visible):
            # Else a key that came behind has made the list shorter.
            self.session.cursor = event.line
            self._show_selection()

    @on(LineView.Chosen, "FieldList")
    def _field_chosen(self, _event: LineView.Chosen) -> None:
        self.action_flip()

    @on(HexPane.ByteMoved)
    def _byte_moved(self, event: HexPane.ByteMoved) -> None:
        assert self.session is not None
        if self.session.jump_to_byte(event.offset):
            self.query_one(FieldList).show(self.session)
            self._show_selection()

    def action_vcpu(self, by: int) -> None:
        """To the vCPU before or behind."""
        if self.session is None or not self.session.capture.vcpus:
            return
        number = max(0, min(self.session.vcpu_number + by, len(self.session.capture.vcpus) - 1))
        self.session.select_vcpu(number)
        self.show_all()

    # Editing

    def action_flip(self) -> None:
        """Flip the bit under the cursor, or fold and unfold what has parts."""
        session = self.session
        if session is None or session.rows is None or not session.rows.visible:
            return
        if session.rows.toggle_fold(session.cursor):
            self.query_one(FieldList).show(session)
            self._show_selection()
            return
        try:
            session.toggle_bit()
        except EditError as error:
            self.notify(str(error), severity="warning", markup=False)
        self.show_all()

    def action_edit(self) -> None:
        """Ask for a value of the field under the cursor."""
        field = self.session.field() if self.session else None
        if field is None:
            self.action_flip()
        elif field.value is None:
            self.notify(f"{field.path} was not captured: there are no bytes to edit", severity="warning", markup=False)
        else:
            self._prompt().ask("set_value", f"{field.path} =", hex(field.value))

    def action_save(self) -> None:
        """Ask for a name under which the edited capture is kept."""
        if self.session is not None:
            self._prompt().ask("save", "save as a new file:", self.session.file_name())

    def action_edits(self) -> None:
        """What has been edited."""
        if self.session is not None and self.session.overlay.edits:
            self.want(EditsWanted(self.session))
        else:
            self.notify("no edits", timeout=2)

    def action_undo(self) -> None:
        """Take the last edit back."""
        self._stepped(self.session.undo() if self.session else None, "undid", "nothing to undo")

    def action_redo(self) -> None:
        """Make it again."""
        self._stepped(self.session.redo() if self.session else None, "redid", "nothing to redo")

    def _stepped(self, edit: object, done: str, nothing: str) -> None:
        label = getattr(edit, "label", None)
        self.notify(f"{done}: {label}" if label else nothing, markup=False, timeout=2)
        self.show_all()

    def answer(self, purpose: str, text: str) -> None:
        """Do what was asked for, or say why not; a value that is refused can be mended."""
        session, prompt = self.session, self._prompt()
        assert session is not None
        try:
            if purpose == "migrate":
                self.migrate(text.strip())
                return
            getattr(session, purpose)(text)
        except InspectorError as error:
            prompt.refuse(str(error))
            return
        if purpose == "save":
            self.notify(f"saved {text.strip()}", markup=False, timeout=3)
        prompt.close()
        self.show_all()

    # Looking and copying

    def action_element(self, by: int) -> None:
        """Another element type for vectors and tiles."""
        if self.session is None:
            return
        self.session.step_element(by)
        self._show_detail()

    def action_all(self) -> None:
        """Show padding and reserved bytes too, or only where they hold something."""
        if self.session is None or self.session.rows is None:
            return
        field = self.session.field()
        rows = self.session.rows
        rows.show_all = not rows.show_all
        rows.refresh()
        self.session.cursor = rows.reveal(field.spec) if field else 0
        self.show_all()

    def run_action_zoom(self) -> None:
        """See LookupScreen."""
        self.action_zoom()

    def action_zoom(self) -> None:
        """The detail pane over the whole screen, and back."""
        detail = self.query_one(DetailPane)
        if self.maximized is None:
            self.maximize(detail, container=False)
            detail.focus()
        else:
            self.minimize()
            self.query_one(FieldList).focus()

    def action_copy_value(self) -> None:
        """Copy the value through the terminal (OSC 52)."""
        if self.session is not None:
            self._copy(self.session.value_text())

    def action_copy_command(self) -> None:
        """Copy the command that prints what is selected, as edited."""
        if self.session is not None:
            self._copy(self.session.command())

    def _copy(self, text: str) -> None:
        if not text:
            return
        self.app.copy_to_clipboard(text)
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        self.notify(f"sent to the terminal's clipboard: {shown}", markup=False, timeout=3)


_SCREEN_ACTIONS = DOOR_ACTIONS | actions_of(LookupScreen) | actions_of(InspectScreen)
