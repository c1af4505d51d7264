"""Rendered scenes of simple solids, with instructions that name one of them: exact pairs before and after a removal.

In the manner of CLEVR (Johnson et al., CVPR 2017), drawn here by signed distances, a fraction of a millisecond each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

SHAPES = ("ball", "cube", "cylinder", "cone")
COLOURS = {
    "red": (205, 45, 45), "green": (50, 150, 60), "blue": (50, 80, 205), "yellow": (225, 205, 50),
    "purple": (140, 60, 175), "cyan": (60, 190, 200), "orange": (235, 140, 40), "grey": (125, 125, 125),
}  # fmt: skip
SIZES = {"small": 0.085, "large": 0.14}  # half the width, share of the scene's side
VERBS = ("remove", "erase", "delete", "take away", "get rid of", "clear away")
# Relation → words; a and b are centres (x, y), y downwards and towards the viewer.
RELATIONS = {"left": "left of", "right": "right of", "front": "in front of", "behind": "behind"}
PLACES = {"left": "on the left", "right": "on the right"}
ALIKE = 0.5  # chance that a solid takes each of its attributes from another one
LEAST_GAP = 0.06  # share of the side by which a relation must hold

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Solid:
    """x, y: middle of its foot, shares of the side; half: half its width, alike."""

    shape: str
    colour: str
    size: str
    x: float
    y: float
    half: float
    tint: tuple[float, float, float]

    @property
    def centre(self) -> tuple[float, float]:
        return self.x, self.y - self.half


@dataclass(frozen=True)
class Stage:
    """The floor and the light: colours at the top and bottom edge in [0, 1], light from the left or right."""

    top: tuple[float, float, float]
    bottom: tuple[float, float, float]
    light: float  # −1 from the left … 1 from the right
    shade: float  # depth of the shadows in [0, 1]
    grain: int  # seed of the floor's texture


@dataclass(frozen=True)
class Case:
    """One instruction about one scene.

    chosen: index of the solid that it names, None when none fits (the picture must stay as it is); anchor: index of
    the solid that it names as a landmark, None without one; side: the part of the picture that a place or relation
    leaves, as (axis, limit, sign): where sign·(position − limit) > 0, shares of the side.
    """

    text: str
    chosen: int | None
    anchor: int | None = None
    side: tuple[int, float, int] | None = None


@dataclass(frozen=True)
class Scene:
    stage: Stage
    solids: tuple[Solid, ...]

    def without(self, index: int | None) -> Scene:
        """The same scene, the floor's texture included, without one solid."""
        return self if index is None else replace(self, solids=self.solids[:index] + self.solids[index + 1 :])


def random_scene(rng: np.random.Generator, most: int = 6) -> Scene:
    """Three to `most` solids on a floor; none hides much of another."""
    base = rng.uniform(0.35, 0.9, 3) * 0.4 + rng.uniform(0.35, 0.9) * 0.6
    top, bottom = np.clip(base * rng.uniform(0.75, 1.0), 0, 1), np.clip(base * rng.uniform(0.9, 1.15), 0, 1)
    stage = Stage(tuple(top), tuple(bottom), rng.uniform(-1, 1), rng.uniform(0.2, 0.55), int(rng.integers(1 << 31)))
    solids: list[Solid] = []
    wanted = int(rng.integers(3, most + 1))
    for _ in range(60):
        if len(solids) == wanted:
            break
        shape, colour, size = str(rng.choice(SHAPES)), str(rng.choice(list(COLOURS))), str(rng.choice(list(SIZES)))
        if solids:  # often like one that is there: instructions then need more words
            other = solids[int(rng.integers(len(solids)))]
            shape = other.shape if rng.random() < ALIKE else shape
            colour = other.colour if rng.random() < ALIKE else colour
            size = other.size if rng.random() < ALIKE else size
        half = SIZES[size] * rng.uniform(0.92, 1.08)
        x, y = rng.uniform(half + 0.02, 0.98 - half), rng.uniform(2 * half + 0.08, 0.97)
        cx, cy = x, y - half
        if any(np.hypot(cx - s.centre[0], cy - s.centre[1]) < 1.15 * (half + s.half) for s in solids):
            continue
        tint = np.clip(np.array(COLOURS[colour]) / 255 + rng.normal(0, 0.025, 3), 0, 1)
        solids.append(Solid(shape, colour, size, x, y, half, (float(tint[0]), float(tint[1]), float(tint[2]))))
    return Scene(stage, tuple(solids))


def render(scene: Scene, side: int) -> Float:
    """(side, side, 3) in [0, 1]."""
    stage = scene.stage
    ramp = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
    image = np.asarray(stage.top, np.float32) * (1 - ramp) + np.asarray(stage.bottom, np.float32) * ramp
    grain = np.random.default_rng(stage.grain).normal(0, 0.035, (side // 4, side // 4, 1)).astype(np.float32)
    image = image + cv2.resize(grain, (side, side), interpolation=cv2.INTER_CUBIC)[..., None]
    for solid in scene.solids:  # shadows fall on the floor, under every solid
        _shadow(image, solid, stage)
    for solid in sorted(scene.solids, key=lambda s: s.y):
        _draw(image, solid, stage)
    return np.clip(image, 0, 1).astype(np.float32)


def _window(side: int, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice, Float, Float]:
    """Rows, columns and pixel centres (in shares of the side) of a box cut to the picture."""
    left, top = max(0, int(x0 * side) - 1), max(0, int(y0 * side) - 1)
    right, bottom = min(side, int(x1 * side) + 2), min(side, int(y1 * side) + 2)
    u, v = (((np.arange(a, b) + 0.5) / side).astype(np.float32) for a, b in ((left, right), (top, bottom)))
    return slice(top, bottom), slice(left, right), u[None], v[:, None]


def _shadow(image: Float, solid: Solid, stage: Stage) -> None:
    """A soft ellipse at the foot, drawn away from the light."""
    h = solid.half
    cx, cy = solid.x - 0.5 * stage.light * h, solid.y - 0.12 * h
    rows, columns, u, v = _window(len(image), cx - 2 * h, cy - h, cx + 2 * h, cy + h)
    distance = ((u - cx) / (1.25 * h)) ** 2 + ((v - cy) / (0.42 * h)) ** 2
    image[rows, columns] *= 1 - stage.shade * np.exp(-1.5 * distance)[..., None] * (distance < 4)[..., None]


def _draw(image: Float, solid: Solid, stage: Stage) -> None:
    """Colour and coverage from analytic outlines; edges are one pixel soft."""
    side, h = len(image), solid.half
    rows, columns, u, v = _window(side, solid.x - 1.4 * h, solid.y - 2.3 * h, solid.x + 1.4 * h, solid.y + 0.4 * h)
    x, y = (u - solid.x) / h, (solid.y - v) / h  # y: 0 at the foot, 2 at the top
    distance, light = _SOLIDS[solid.shape](x, y, stage.light)
    cover = np.clip(0.5 - distance * h * side, 0, 1)[..., None]
    colour = np.asarray(solid.tint, np.float32) * np.clip(light, 0.25, None)[..., None]
    colour = colour + np.clip(light - 1.05, 0, None)[..., None]  # highlights are white
    image[rows, columns] = image[rows, columns] * (1 - cover) + np.clip(colour, 0, 1) * cover


def _ball(x: Float, y: Float, light: float) -> tuple[Float, Float]:
    r = np.hypot(x, y - 1)
    z = np.sqrt(np.clip(1 - r**2, 0, 1))
    lambert = np.clip(0.45 * light * x + 0.55 * (y - 1) + 0.7 * z, 0, None)
    return r - 1, 0.45 + 0.6 * lambert + 0.9 * np.clip(lambert - 0.9, 0, None) * 4


def _cube(x: Float, y: Float, light: float) -> tuple[Float, Float]:
    """A front face, a top face and a side face on the right, in oblique projection."""
    depth = 0.42
    front = np.maximum(np.maximum(-x - 0.95, x - 0.6), np.maximum(-y, y - 1.5))
    shear = x - (y - 1.5)
    top = np.maximum(np.maximum(1.5 - y, y - 1.5 - depth), np.maximum(-0.95 - shear, shear - 0.6) / 1.4)
    rise = y - (x - 0.6)
    right = np.maximum(np.maximum(0.6 - x, x - 0.6 - depth), np.maximum(-rise, rise - 1.5) / 1.4)
    distance = np.minimum(front, np.minimum(top, right))
    shade = np.where(top <= np.minimum(front, right), 1.08, np.where(right < front, 0.65 + 0.15 * light, 0.85))
    return distance, shade.astype(np.float32)


def _cylinder(x: Float, y: Float, light: float) -> tuple[Float, Float]:
    lid = np.hypot(x / 0.8, (y - 1.75) / 0.22) - 1
    foot = np.hypot(x / 0.8, (y - 0.2) / 0.22) - 1
    wall = np.maximum(np.abs(x) - 0.8, np.maximum(0.2 - y, y - 1.75))
    distance = np.minimum(wall, np.minimum(lid, foot) * 0.22)
    around = np.clip(x / 0.8, -1, 1)
    shade = 0.5 + 0.45 * np.sqrt(1 - around**2) + 0.25 * light * around
    return distance, np.where(lid < 0, np.float32(1.05), shade + 0 * y)


def _cone(x: Float, y: Float, light: float) -> tuple[Float, Float]:
    foot = (np.hypot(x / 0.95, (y - 0.2) / 0.22) - 1) * 0.22
    slope = np.maximum((np.abs(x) - 0.95 * (2 - y) / 1.8) * 0.88, 0.2 - y)
    around = np.clip(x / np.maximum(0.95 * (2 - y) / 1.8, 0.05), -1, 1)
    shade = 0.5 + 0.4 * np.sqrt(1 - around**2) + 0.3 * light * around
    return np.minimum(foot, slope), shade


_SOLIDS = {"ball": _ball, "cube": _cube, "cylinder": _cylinder, "cone": _cone}


def cover(scene: Scene, index: int, side: int) -> NDArray[np.bool_]:
    """(side, side): what solid `index` would cover if it stood alone, without its shadow."""
    solid = scene.solids[index]
    mask = np.zeros((side, side), np.bool_)
    h = solid.half
    rows, columns, u, v = _window(side, solid.x - 1.4 * h, solid.y - 2.3 * h, solid.x + 1.4 * h, solid.y + 0.4 * h)
    mask[rows, columns] = _SOLIDS[solid.shape]((u - solid.x) / h, (solid.y - v) / h, scene.stage.light)[0] < 0
    return mask


def random_case(scene: Scene, rng: np.random.Generator, kinds: dict[str, float] | None = None) -> Case:
    """An instruction that names exactly one solid, by attributes, place or relation, or one that fits none.

    As in GQA-Inpaint a place or relation is named only where the attributes leave several to choose from. kinds:
    shares of "attributes", "place", "relation" and "irrelevant" instructions; that paper's fifth of irrelevant ones
    by default. A scene that offers no instruction of the drawn kind gets one by attributes, or an irrelevant one.
    """
    shares = kinds or {"attributes": 0.3, "place": 0.1, "relation": 0.4, "irrelevant": 0.2}
    kind = str(rng.choice(list(shares), p=list(shares.values())))
    verb = str(rng.choice(VERBS))
    for attempt in range(260):
        case = _CASES[kind if attempt < 200 else "attributes" if attempt < 230 else "irrelevant"](scene, rng)
        if case is not None:
            return replace(case, text=f"{verb} the {case.text}")
    raise RuntimeError("a scene that holds every solid there is")  # 2 × 8 × 4 of them, and at most six stand there


def _by_attributes(scene: Scene, rng: np.random.Generator) -> Case | None:
    chosen = int(rng.integers(len(scene.solids)))
    words = _described(scene.solids[chosen], rng)
    return Case(_phrase(words), chosen) if _matching(scene, words) == [chosen] else None


def _by_place(scene: Scene, rng: np.random.Generator) -> Case | None:
    chosen, place = int(rng.integers(len(scene.solids))), str(rng.choice(list(PLACES)))
    words = _described(scene.solids[chosen], rng)
    alike = _matching(scene, words)
    if len(alike) < 2 or _outermost(scene, alike, place) != chosen:
        return None
    sign = -1 if place == "left" else 1
    next_to = min(sign * (scene.solids[chosen].x - scene.solids[i].x) for i in alike if i != chosen)
    side = (0, scene.solids[chosen].x - sign * next_to / 2, sign)
    return Case(f"{_phrase(words)} {PLACES[place]}", chosen, side=side)


def _by_relation(scene: Scene, rng: np.random.Generator) -> Case | None:
    chosen, anchor = rng.choice(len(scene.solids), 2, replace=False).tolist()
    kind = str(rng.choice(list(RELATIONS)))
    words, landmark = _described(scene.solids[chosen], rng), _described(scene.solids[anchor], rng)
    if _matching(scene, landmark) != [anchor]:
        return None
    others = [i for i in _matching(scene, words) if i != anchor]
    gaps = {i: _gap(scene.solids[i], scene.solids[anchor], kind) for i in others}
    if [i for i in others if gaps[i] > 0] != [chosen] or min(map(abs, gaps.values())) < LEAST_GAP:
        return None
    if len(others) == 1:  # the relation must matter
        return None
    axis, sign = (0 if kind in ("left", "right") else 1), (1 if kind in ("right", "front") else -1)
    limit = scene.solids[anchor].x if axis == 0 else scene.solids[anchor].centre[1]
    return Case(f"{_phrase(words)} {RELATIONS[kind]} the {_phrase(landmark)}", chosen, anchor, (axis, limit, sign))


def _irrelevant(scene: Scene, rng: np.random.Generator) -> Case | None:
    words = (str(rng.choice(["", *SIZES])), str(rng.choice(["", *COLOURS])), str(rng.choice(SHAPES)))
    if _matching(scene, words):
        return None
    if rng.random() < 0.7:
        return Case(_phrase(words), None)
    landmark = _described(scene.solids[int(rng.integers(len(scene.solids)))], rng)
    return Case(f"{_phrase(words)} {RELATIONS[str(rng.choice(list(RELATIONS)))]} the {_phrase(landmark)}", None)


_CASES = {"attributes": _by_attributes, "place": _by_place, "relation": _by_relation, "irrelevant": _irrelevant}
Words = tuple[str, str, str]


def _described(solid: Solid, rng: np.random.Generator) -> Words:
    """Some of a solid's size, colour and shape; a bare "object" stands for any shape."""
    size = solid.size if rng.random() < 0.35 else ""
    colour = solid.colour if rng.random() < 0.6 else ""
    named = rng.random() < 0.85 or not (size or colour)
    return size, colour, solid.shape if named else "object"


def _matching(scene: Scene, words: Words) -> list[int]:
    return [i for i, solid in enumerate(scene.solids) if _fits(solid, words)]


def _fits(solid: Solid, words: Words) -> bool:
    size, colour, shape = words
    return size in ("", solid.size) and colour in ("", solid.colour) and shape in ("object", solid.shape)


def _phrase(words: Words) -> str:
    return " ".join(word for word in words if word)


def _gap(a: Solid, b: Solid, kind: str) -> float:
    """By how much `a` stands in relation `kind` to `b`, share of the side."""
    (ax, _), (bx, _) = a.centre, b.centre
    return {"left": bx - ax, "right": ax - bx, "front": a.y - b.y, "behind": b.y - a.y}[kind]


def _outermost(scene: Scene, among: list[int], place: str) -> int | None:
    """The one of `among` furthest to a side, if it is so clearly."""
    sign = 1 if place == "left" else -1
    order = sorted(among, key=lambda i: sign * scene.solids[i].x)
    if len(order) > 1 and abs(scene.solids[order[0]].x - scene.solids[order[1]].x) < LEAST_GAP:
        return None
    return order[0] if order else None
