"""Drawn text to lay over photos: captions, subtitles, date stamps, big words, small print, signs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from restore.training.data.layers import Array, Canvas, Layer, log_uniform, moved, soft

_WORDS = """
    the and of to in is you that it he was for on are as with his they at be this have from or one had by word but
    not what all were we when your can said there use an each which she do how their if will up other about out many
    then them these so some her would make like him into time has look two more write go see number no way could
    people my than first water been call who oil its now find long down day did get come made may part summer
    holiday photo studio copyright sale open exit stop news live world city hotel cafe market street January March
    April June July August October December Monday Friday Sunday Paris Berlin Lisbon Tokyo Boston sample preview
    stock image draft proof confidential gallery archive collection private press film episode
"""
WORDS = _WORDS.split()
LETTERS = {
    "latin": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZéüñßøç",
    "cyrillic": "абвгдежзиклмнопрстуфхцчшщыьэюяАБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЭЮЯ",
    "greek": "αβγδεζηθικλμνξοπρστυφχψωΑΒΓΔΕΘΛΞΠΣΦΨΩ",
    "kana": "あいうえおかきくけこさしすせそたちつてとなにのはひふまみむもやゆよらりるれんアイウエオカキク"
    "ケコサシスタテトナニハヒフマミムメモラリルレロン日本東京大小中国人年月時分上下山川田水火木金"
    "土一二三四五六七八九十",
}


SUFFIXES = {".ttf", ".otf"}
OWN = ""  # the font that Pillow carries
UNKNOWN = "\U0010fffd"  # no font has it: drawn as the sign for what is missing


class Fonts:
    """The fonts below some folders, by the scripts that they write; without any the one that Pillow carries."""

    def __init__(self, folders: Sequence[str | Path]) -> None:
        found = {p for folder in folders for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES}
        paths = sorted(str(p) for p in found) or [OWN]
        clocks = [p for p in paths if "DSEG" in p]  # seven segments
        self.by_script = {
            script: [p for p in paths if p not in clocks and _writes(p, letters)] for script, letters in LETTERS.items()
        }
        self.latin = self.by_script["latin"] or [OWN]
        self.digits = clocks or self.latin

    def choose(self, rng: np.random.Generator) -> tuple[str, str]:
        """(path, script) of a font."""
        u = rng.random()
        script = "kana" if u < 0.06 else str(rng.choice(["cyrillic", "greek"])) if u < 0.18 else "latin"
        paths = self.by_script[script]
        return (str(rng.choice(paths)), script) if paths else (str(rng.choice(self.latin)), "latin")


@lru_cache(4096)
def font(path: str, size: int) -> ImageFont.FreeTypeFont:
    if path == OWN:
        own = ImageFont.load_default(size)
        assert isinstance(own, ImageFont.FreeTypeFont)  # with a size it is one
        return own
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def _writes(path: str, letters: str) -> bool:
    """Whether a font has a script's first, middle and last letter."""
    face = font(path, 16)
    missing = bytes(face.getmask(UNKNOWN))
    return all(bytes(face.getmask(letter)) not in (missing, b"") for letter in (letters[0], letters[29], letters[-1]))


def colour(rng: np.random.Generator, plain: float = 0.6) -> Array:
    """A text colour: white, black and grey often, else any."""
    if rng.random() < plain:
        return np.full(3, rng.choice([1.0, 1.0, 0.0, 0.95, rng.random()]), np.float32)
    return rng.random(3).astype(np.float32)


def phrase(rng: np.random.Generator, script: str, words: int) -> str:
    out = []
    for _ in range(words):
        u = rng.random()
        if script == "kana":
            out.append("".join(rng.choice(list(LETTERS["kana"]), rng.integers(1, 5))))
        elif u < 0.2:
            out.append(str(rng.integers(0, 10 ** int(rng.integers(1, 5)))))
        elif u < 0.65 and script == "latin":
            out.append(str(rng.choice(WORDS)))
        else:
            out.append("".join(rng.choice(list(LETTERS[script]), rng.integers(1, 9))))
    text = " ".join(out)
    u = rng.random()
    text = text.upper() if u < 0.2 else text.title() if u < 0.35 else text
    return text + str(rng.choice(["", "", "", ".", "!", "?", ",", ":", " - ", "…", "©", "%"]))


def stamp(rng: np.random.Generator) -> str:
    """A camera's date or time."""
    d, m, y = int(rng.integers(1, 32)), int(rng.integers(1, 13)), int(rng.integers(1970, 2031))
    short = f"'{y % 100:02}"
    day = [f"{d:02}.{m:02}.{y}", f"{y}-{m:02}-{d:02}", f"{short} {m:2} {d:2}", f"{m}/{d}/{y}", f"{d:2} {m:2} {short}"]
    clock = f"{rng.integers(0, 24):02}:{rng.integers(0, 60):02}"
    return str(rng.choice([*day, *day, f"{day[1]} {clock}", f"{clock}:{rng.integers(0, 60):02}", clock]))


def write(
    rng: np.random.Generator,
    size: int,
    text: str,
    face: ImageFont.FreeTypeFont,
    outline: int = 0,
    turn: float = 0.0,
    warp: float = 0.0,
    centre: tuple[float, float] | None = None,
) -> tuple[Array, Array]:
    """Cover of the letters and of the letters with their outline, somewhere on a square, in [0, 1]."""
    probe = ImageDraw.Draw(Image.new("L", (8, 8)))
    spacing, align = rng.uniform(0.1, 0.6) * face.size, str(rng.choice(["left", "center", "right"]))
    x0, y0, x1, y1 = probe.multiline_textbbox((0, 0), text, face, None, spacing, align, stroke_width=outline)
    w, h = int(x1 - x0) + 4, int(y1 - y0) + 4
    inner, outer = Image.new("L", (w, h)), Image.new("L", (w, h))
    at = (2 - x0, 2 - y0)
    ImageDraw.Draw(inner).multiline_text(at, text, 255, face, None, spacing, align)
    if outline:
        ImageDraw.Draw(outer).multiline_text(at, text, 255, face, None, spacing, align, stroke_width=outline)
    if centre is None:
        centre = (rng.uniform(0.1, 0.9) * size, rng.uniform(0.06, 0.94) * size)
    c, s = math.cos(turn), math.sin(turn)
    corners = np.array([[-w, -h], [w, -h], [w, h], [-w, h]], np.float32) / 2
    there = corners @ np.array([[c, s], [-s, c]], np.float32) + np.array(centre, np.float32)
    if turn == 0 and warp == 0:  # whole pixels: as crisp as drawn
        there = there - (there[0] - np.round(there[0]))
    there = there + rng.uniform(-warp, warp, (4, 2)).astype(np.float32) * min(w, h)
    matrix = cv2.getPerspectiveTransform(corners + np.array([w, h], np.float32) / 2, there.astype(np.float32))
    moved = [cv2.warpPerspective(np.asarray(i), matrix, (size, size)).astype(np.float32) / 255 for i in (inner, outer)]
    return moved[0], np.maximum(moved[0], moved[1]) if outline else moved[0]


def text(rng: np.random.Generator, size: int, fonts: Fonts) -> Layer:
    """Captions, subtitles, date stamps, big words, small print, signs."""
    canvas = Canvas(size)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        path, script = fonts.choose(rng)
        height = log_uniform(rng, 9, 80)
        ink, edge, outline, turn, warp = colour(rng), colour(rng, 0.9), 0, 0.0, 0.0
        lines = int(rng.integers(1, 2 + 60 // int(height)).clip(1, 5))
        per = max(1, int(size / height / 3.2 * rng.uniform(0.3, 1.2)))
        style = rng.choice(["plain", "subtitle", "date", "sign", "paragraph"], p=[0.4, 0.22, 0.15, 0.13, 0.1])
        if style == "subtitle":
            height, lines = log_uniform(rng, 10, 34), int(rng.integers(1, 3))
            per = max(2, int(size / height / 3))
            ink = np.array([[1, 1, 1], [1, 1, 0.2], [0.9, 0.9, 0.9]], np.float32)[rng.integers(3)]
            edge, outline = np.zeros(3, np.float32), max(1, int(height * rng.uniform(0.05, 0.12)))
        elif style == "date":
            height = log_uniform(rng, 9, 34)
            path = str(rng.choice(fonts.digits)) if rng.random() < 0.65 else str(rng.choice(fonts.latin))
            ink = np.array([1, rng.uniform(0.2, 0.8), rng.uniform(0, 0.35)], np.float32)
            if rng.random() < 0.25:
                ink = colour(rng)
        elif style == "sign":
            turn, warp = rng.normal(0, 0.15), rng.uniform(0, 0.2)
        elif style == "paragraph":
            height, lines = log_uniform(rng, 8, 16), int(rng.integers(4, 12))
            per = int(rng.integers(4, 10))
        if style in ("plain", "sign") and rng.random() < 0.25:
            outline = max(1, int(height * rng.uniform(0.04, 0.1)))
        if style == "plain" and rng.random() < 0.2:
            turn = rng.choice([rng.normal(0, 0.2), math.pi / 2, -math.pi / 2])
        words = stamp(rng) if style == "date" else "\n".join(phrase(rng, script, per) for _ in range(lines))
        inner, outer = write(rng, size, words, font(path, max(7, int(height))), outline, float(turn), warp)
        if style == "sign" or rng.random() < 0.1:  # a plate or a box behind
            box = cv2.boundingRect((outer > 0.1).astype(np.uint8))
            if box[2]:
                plate = np.zeros((size, size), np.float32)
                m = int(rng.uniform(0.1, 0.7) * height)
                cv2.rectangle(plate, (box[0] - m, box[1] - m), (box[0] + box[2] + m, box[1] + box[3] + m), 1, -1)
                strength = rng.uniform(0.4, 1)
                canvas.paint(plate, rng.random(3), strength, label=False)
                canvas.label *= 1 - plate * strength
        if rng.random() < 0.25:  # a shadow
            shift = max(1.0, height * rng.uniform(0.03, 0.12))
            shade = moved(outer, shift, shift)
            hard = rng.random() < 0.4
            canvas.paint(shade if hard else soft(shade, max(0.6, shift * 0.7)), edge * 0.2, rng.uniform(0.4, 1), hard)
        if style == "date" and rng.random() < 0.5:
            canvas.paint(soft(inner, 1.5), ink, 0.5, label=False)
        if outline:
            canvas.paint(outer, edge)
        if rng.random() < 0.12:  # shaded from top to bottom
            ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
            ink = ink * ramp + colour(rng, 0.2) * (1 - ramp) + np.zeros((size, size, 1), np.float32)
        canvas.paint(inner, ink)
    return canvas.layer(rng.choice([1.0, 1.0, rng.uniform(0.7, 1)]))
