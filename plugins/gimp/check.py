"""Run inside GIMP by check.sh: edits through a live server, in pictures of every kind. Prints a line a check."""

import os
import sys
import traceback

import gi

gi.require_version("Gimp", "3.0")
gi.require_version("Gegl", "0.4")
from gi.repository import Gegl, Gimp, Gio  # noqa: E402

FORM = "R'G'B'A u16"
KINDS = {
    "RGB, 8 bits": (Gimp.ImageBaseType.RGB, Gimp.Precision.U8_NON_LINEAR, False),
    "RGB with alpha, 16 bits": (Gimp.ImageBaseType.RGB, Gimp.Precision.U16_NON_LINEAR, True),
    "RGB, 32-bit floats, linear": (Gimp.ImageBaseType.RGB, Gimp.Precision.FLOAT_LINEAR, False),
    "grey, 8 bits": (Gimp.ImageBaseType.GRAY, Gimp.Precision.U8_NON_LINEAR, False),
    "indexed with alpha": (Gimp.ImageBaseType.INDEXED, Gimp.Precision.U8_NON_LINEAR, True),
}


def pixels(drawable):
    rectangle = Gegl.Rectangle.new(0, 0, drawable.get_width(), drawable.get_height())
    return bytes(drawable.get_buffer().get(rectangle, 1.0, FORM, Gegl.AbyssPolicy.NONE))


def merged(image):
    copy = image.duplicate()
    layer = copy.merge_visible_layers(Gimp.MergeType.CLIP_TO_IMAGE)
    found = pixels(layer)
    copy.delete()
    return found


def opened(path, base, precision, alpha):
    image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(path))
    if alpha:
        image.get_layers()[0].add_alpha()
    if base == Gimp.ImageBaseType.GRAY:
        image.convert_grayscale()
    if base == Gimp.ImageBaseType.INDEXED:
        image.convert_indexed(Gimp.ConvertDitherType.NONE, Gimp.ConvertPaletteType.GENERATE, 255, False, False, "")
    elif precision != image.get_precision():
        image.convert_precision(precision)
    return image


def run(name, image, layer, **options):
    procedure = Gimp.get_pdb().lookup_procedure(f"plug-in-restore-{name}")
    config = procedure.create_config()
    config.set_property("run-mode", Gimp.RunMode.NONINTERACTIVE)
    config.set_property("image", image)
    config.set_core_object_array("drawables", [layer])
    config.set_property("server", os.environ["RESTORE_URL"])
    for key, value in options.items():
        config.set_property(key, value)
    found = procedure.run(config)
    return found.index(0), Gimp.get_pdb().get_last_error()


def say(what, holds):
    print(f"CHECK {'ok' if holds else 'FAILED'}: {what}", flush=True)


def differing(before, after, image):
    """Selection values at the pixels that differ."""
    width, height = image.get_width(), image.get_height()
    rectangle = Gegl.Rectangle.new(0, 0, width, height)
    selection = bytes(image.get_selection().get_buffer().get(rectangle, 1.0, "Y u8", Gegl.AbyssPolicy.NONE))
    return [selection[n] for n in range(width * height) if before[8 * n : 8 * n + 8] != after[8 * n : 8 * n + 8]]


def check(photo):
    for kind, (base, precision, alpha) in KINDS.items():
        image = opened(photo, base, precision, alpha)
        layer = image.get_layers()[0]
        before, shown = pixels(layer), merged(image)
        image.select_ellipse(Gimp.ChannelOps.REPLACE, 80, 70, 45, 40)
        status, error = run("remove-selection", image, layer)
        layers = image.get_layers()
        say(f"{kind}: one layer more ({error})", status == Gimp.PDBStatusType.SUCCESS and len(layers) == 2)
        if len(layers) != 2:
            continue
        say(f"{kind}: it is above, with a mask", layers[1] == layer and layers[0].get_mask() is not None)
        say(f"{kind}: the original is unchanged", pixels(layer) == before)
        values = differing(shown, merged(image), image)
        say(f"{kind}: {len(values)} pixels changed, none outside the selection", len(values) > 500 and 0 not in values)
        image.delete()
    image = opened(photo, *KINDS["RGB, 8 bits"])
    layer, shown = image.get_layers()[0], merged(image)
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 150, 120, 300, 300)
    Gimp.Selection.feather(image, 10)
    status, error = run("remove-selection", image, layer)
    values = differing(shown, merged(image), image)
    say(f"soft, beyond the border: {len(values)} pixels changed ({error})", len(values) > 500 and 0 not in values)
    Gimp.Selection.none(image)
    status, error = run("remove-selection", image, layer)
    say(f"nothing selected: {error}", status == Gimp.PDBStatusType.EXECUTION_ERROR and "Select what" in error)
    status, error = run("enhance", image, layer, task="denoise")
    say(f"enhance ({error})", status == Gimp.PDBStatusType.SUCCESS and len(image.get_layers()) == 3)
    status, error = run("show-artifacts", image, layer)
    found = [one for one in image.get_layers() if one.get_name().startswith("Restore: artifacts")]
    say(f"artifacts ({error})", [(one.get_width(), one.get_height()) for one in found] == [(200, 160)])
    os.environ["RESTORE_URL"], url = "http://127.0.0.1:9", os.environ["RESTORE_URL"]
    status, error = run("enhance", image, layer, task="denoise")
    say(f"no server: {error}", "restore serve" in error)
    os.environ["RESTORE_URL"] = url
    words(os.environ["RESTORE_ROCKET"])


def words(photo):
    image = opened(photo, *KINDS["RGB, 8 bits"])
    layer = image.get_layers()[0]
    layer.set_offsets(7, 0)
    before, shown = pixels(layer), merged(image)
    status, error = run("remove-by-words", image, layer, prompt="remove the rocket")
    layers = image.get_layers()
    say(f"words ({error})", status == Gimp.PDBStatusType.SUCCESS and len(layers) == 2)
    mask = layers[0].get_mask()
    width, height = mask.get_width(), mask.get_height()
    rectangle = Gegl.Rectangle.new(0, 0, width, height)
    values = bytes(mask.get_buffer().get(rectangle, 1.0, "Y u8", Gegl.AbyssPolicy.NONE))
    share = values.count(255) / len(values)
    say(f"words: {share:.1%} in the mask", set(values) == {0, 255} and 0.001 < share < 0.5)
    say("words: the original is unchanged", pixels(layer) == before and merged(image) != shown)
    out = os.environ.get("RESTORE_OUT")
    if out:
        Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(f"{out}/words.xcf"), None)
        Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(f"{out}/words.png"), None)


try:
    check(os.environ["RESTORE_PHOTO"])
except Exception:
    traceback.print_exc(file=sys.stdout)
    say("no error", False)
