#!/usr/bin/env python3
"""Filters ▸ Restore in GIMP 3: what is selected or named is removed by a running `restore serve`.

The result is a new layer with a layer mask above the one that was edited; that one stays as it is.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

import gi

gi.require_version("Gimp", "3.0")
gi.require_version("GimpUi", "3.0")
gi.require_version("Gegl", "0.4")
from gi.repository import Gegl, Gimp, GimpUi, Gio, GLib, GObject  # noqa: E402

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import client  # noqa: E402

SELECTION, WORDS, ENHANCE, ARTIFACTS = (
    f"plug-in-restore-{name}" for name in ("remove-selection", "remove-by-words", "enhance", "show-artifacts")
)
# Name: its words in the menu, and what it does.
MENU = {
    SELECTION: ("_Remove selection", "Remove what is selected; what is around it goes on there"),
    WORDS: ("Remove by _words…", "Remove what words name, inside the selection if there is one"),
    ENHANCE: ("_Enhance…", "Undo noise, blur, JPEG blocks, darkness or missing colour of the layer"),
    ARTIFACTS: ("Show _artifacts", "Show where the layer looks wrong, as a layer above it"),
}


class Sent:
    """The part of a layer that travels: its place in the layer, its samples, and as a PNG."""

    def __init__(self, image: Any, layer: Any, box: client.Box) -> None:
        self.layer, self.box = layer, box
        deep = image.get_precision() not in (
            Gimp.Precision.U8_LINEAR,
            Gimp.Precision.U8_NON_LINEAR,
            Gimp.Precision.U8_PERCEPTUAL,
        )
        self.bits, self.channels = (16 if deep else 8), (4 if layer.has_alpha() else 3)
        self.form = f"R'G'B'{'A' if layer.has_alpha() else ''} u{self.bits}"
        data = samples(layer, box, self.form)
        self.png = client.png(data, box[2], box[3], self.channels, self.bits)

    @property
    def offsets(self) -> tuple[int, int]:
        """Where it lies in the image."""
        _, x, y = self.layer.get_offsets()
        return x + self.box[0], y + self.box[1]


def samples(drawable: Any, box: client.Box, form: str) -> bytes:
    """The pixels of a drawable's box (x, y, w, h), as babl calls their form."""
    rectangle = Gegl.Rectangle.new(*box)
    return bytes(drawable.get_buffer().get(rectangle, 1.0, form, Gegl.AbyssPolicy.NONE))


def selection_of(image: Any, layer: Any) -> tuple[client.Box, Any] | None:
    """(box in the layer, the selection) of what is selected of it; None where nothing is."""
    _, some, x1, y1, x2, y2 = Gimp.Selection.bounds(image)
    if not some:
        return None
    _, x, y = layer.get_offsets()
    left, top = max(0, x1 - x), max(0, y1 - y)
    right, bottom = min(layer.get_width(), x2 - x), min(layer.get_height(), y2 - y)
    if right <= left or bottom <= top:
        return None
    return (left, top, right - left, bottom - top), image.get_selection()


def mask_of(sent: Sent, selection: Any) -> bytes:
    """The PNG of what is selected in the part that travels."""
    x, y = sent.offsets
    _, _, width, height = sent.box
    data = client.selected(samples(selection, (x, y, width, height), "Y u8"))
    return client.png(data, width, height, 1, 8)


def loaded(image: Any, content: bytes) -> Any:
    """A PNG as a layer for `image`, in its colours and precision."""
    handle, path = tempfile.mkstemp(suffix=".png")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        return Gimp.file_load_layer(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(path))
    finally:
        os.unlink(path)


def placed(image: Any, sent: Sent, content: bytes, name: str) -> Any:
    """The PNG as a new layer above the one it was made of."""
    layer = loaded(image, content)
    layer.set_name(name)
    parent, position = sent.layer.get_parent(), image.get_item_position(sent.layer)
    image.insert_layer(layer, parent, position)
    layer.set_offsets(*sent.offsets)
    return layer


def remove(image: Any, layer: Any, server: client.Server, prompt: str = "") -> None:
    """Remove what is selected, or what `prompt` names; raises Problem."""
    found = selection_of(image, layer)
    size = layer.get_width(), layer.get_height()
    if found is None and not prompt:
        raise client.Problem("Nothing of this layer is selected. Select what shall go.")
    sent = Sent(image, layer, (0, 0, *size) if found is None else client.needed(found[0], size))
    mask = None if found is None else mask_of(sent, found[1])
    content = server.edit(sent.png, mask, prompt)
    image.undo_group_start()
    try:
        new = placed(image, sent, content, f"Restore: {prompt or 'selection removed'}")
        if prompt:
            show_what_changed(image, sent, new)
        else:
            new.add_mask(new.create_mask(Gimp.AddMaskType.SELECTION))
    finally:
        image.undo_group_end()


def show_what_changed(image: Any, sent: Sent, new: Any) -> None:
    """A mask on the layer `new`, white where it is another than what was sent."""
    before, box = loaded(image, sent.png), (0, 0, *sent.box[2:])
    size = sent.channels * sent.bits // 8
    data = client.changed(samples(before, box, sent.form), samples(new, box, sent.form), size)
    before.delete()
    mask = new.create_mask(Gimp.AddMaskType.BLACK)
    new.add_mask(mask)
    mask.get_buffer().set(Gegl.Rectangle.new(*box), "Y u8", data)
    mask.update(*box)


def enhance(image: Any, layer: Any, server: client.Server, task: str) -> None:
    """A restored copy of the layer, shown where something is selected if there is; raises Problem."""
    sent = Sent(image, layer, (0, 0, layer.get_width(), layer.get_height()))
    content = server.enhance(sent.png, task)
    image.undo_group_start()
    try:
        new = placed(image, sent, content, f"Restore: {task}")
        kind = Gimp.AddMaskType.WHITE if Gimp.Selection.is_empty(image) else Gimp.AddMaskType.SELECTION
        new.add_mask(new.create_mask(kind))
    finally:
        image.undo_group_end()


def artifacts(image: Any, layer: Any, server: client.Server) -> None:
    """A layer that shows where the layer looks wrong; raises Problem."""
    sent = Sent(image, layer, (0, 0, layer.get_width(), layer.get_height()))
    quality, content = server.assess(sent.png)
    image.undo_group_start()
    try:
        new = placed(image, sent, content, f"Restore: artifacts, quality {quality:.0f} of 100")
        new.scale(*sent.box[2:], False)
        new.set_offsets(*sent.offsets)
    finally:
        image.undo_group_end()


class Restore(Gimp.PlugIn):
    """The plug-in."""

    def do_set_i18n(self, _name: str) -> bool:
        return False

    def do_query_procedures(self) -> list[str]:
        return list(MENU)

    def do_create_procedure(self, name: str) -> Any:
        label, help_ = MENU[name]
        procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, self.run, None)
        procedure.set_image_types("*")
        procedure.set_sensitivity_mask(Gimp.ProcedureSensitivityMask.DRAWABLE)
        procedure.set_menu_label(label)
        procedure.add_menu_path("<Image>/Filters/Restore")
        procedure.set_documentation(help_, help_, name)
        procedure.set_attribution("restore", "restore", "2026")
        both = GObject.ParamFlags.READWRITE
        if name == WORDS:
            procedure.add_string_argument("prompt", "What to _remove", "In words", "remove the cat", both)
        if name == ENHANCE:
            choice = Gimp.Choice.new()
            for number, task in enumerate(client.TASKS):
                choice.add(task, number, task, "")
            procedure.add_choice_argument("task", "_Undo", "What happened", choice, client.TASKS[0], both)
        url = os.environ.get("RESTORE_URL", client.URL)
        procedure.add_string_argument("server", "_Server", "Where restore serve listens", url, both)
        return procedure

    def run(self, procedure: Any, mode: Any, image: Any, drawables: list[Any], config: Any, _data: Any) -> Any:
        name = procedure.get_name()
        if len(drawables) != 1 or not isinstance(drawables[0], Gimp.Layer) or drawables[0].is_group():
            return failed(procedure, "Choose one layer that is no group.")
        if mode == Gimp.RunMode.INTERACTIVE and name in (WORDS, ENHANCE):
            GimpUi.init("restore")
            dialog = GimpUi.ProcedureDialog.new(procedure, config, "Restore")
            dialog.fill(None)
            if not dialog.run():
                return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, None)
            dialog.destroy()
        Gimp.progress_init("Restore")
        try:
            server = client.Server(config.get_property("server"), os.environ.get("RESTORE_API_KEY", ""), alive)
            if name in (SELECTION, WORDS):
                prompt = config.get_property("prompt").strip() if name == WORDS else ""
                if name == WORDS and not prompt:
                    raise client.Problem("Say what shall be removed, for example: remove the cat")
                remove(image, drawables[0], server, prompt)
            elif name == ENHANCE:
                enhance(image, drawables[0], server, config.get_property("task"))
            else:
                artifacts(image, drawables[0], server)
        except client.Problem as problem:
            return failed(procedure, str(problem))
        finally:
            Gimp.progress_end()
        Gimp.displays_flush()
        return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)


def alive() -> None:
    """A sign of life. GIMP ends this process where the user presses Cancel; the server then stops, too."""
    Gimp.progress_pulse()


def failed(procedure: Any, message: str) -> Any:
    """What GIMP shows to the user."""
    error = GLib.Error.new_literal(Gimp.PlugIn.error_quark(), message, 0)
    return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, error)


Gimp.main(Restore.__gtype__, sys.argv)
