"""The words of the grammar: a closed list, all others name things. Phrases are words joined by spaces."""

from __future__ import annotations

import re
from itertools import product

from restore.grounding.meaning import Order, OverlayKind, Relating, Side


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[str]:
    return frozenset(phrase.strip() for phrase in text.replace("\n", " ").split(","))


# Courtesies, which mean nothing.
POLITE = re.compile(
    r"(?:(?:please|kindly|just|now|hey|hi|hello|ok|okay|so|then|also|let's),?\s+"
    r"|(?:can|could|would|will) (?:you|u|we|i)\s+|i(?:'d| would)? (?:want|need|like|wish)(?: you| it)? to\s+"
    r"|try to\s+|help me(?: to)?\s+|go ahead and\s+|only (?=remove |erase |delete ))"
)
POLITE_END = re.compile(r",? (?:please|thanks|thank you|now|completely|entirely|for me|too)$")
THE_PHOTO = re.compile(
    r" (?:from|in|of|on|out of|off|(?:in|on)?to) (?:the|this|that|my|our) (?:whole |entire )?"
    r"(?:photo|photograph|picture|image|scene|shot|frame|pic|view)\b"
    r"(?! (?:of|above|over|behind|hanging|frame|on (?:the |a |my )?(?:wall|desk|table|shelf|fridge|screen|phone))\b)"
)

REMOVE = _phrases(
    """remove, erase, delete, eliminate, get rid of, getting rid of, dispose of, lose, removing, erasing, deleting,
    inpaint, remove out, remove away"""
)
# They remove with a particle ("take the light out", "wipe off the dirt"), or something from another.
PARTICLE_VERBS = _words("take edit crop photoshop paint wipe clean clear scrub strip airbrush rub taking")
PARTICLES = _words("out away off")
VANISH = re.compile(r"make (?P<object>.+) (?:disappear|vanish|go away|gone|invisible)$")
KEEP = _phrases(
    """keep only, keep just, only keep, just keep, leave only, leave just, only leave, just leave, isolate, extract,
    everything except, everything except for, everything but, everything besides, everything apart from,
    everything other than, all but, all except, all except for, all other than, anything but, anything except"""
)
LEAVING = re.compile(
    r"(?:the |all the )?background (?:(?:but|and|while|,) )*(?:leaving|leave|keeping|keep|except|except for)"
    r"(?: only| just)? (?P<object>.+)"
)
AND_THE_REST = re.compile(
    r",? (?:and |then )*(?:remove|erase|delete) (?:everything else|all else|the rest|the background|all the rest)$"
)
NEGATION = re.compile(
    r"\b(?:no|none|neither|nor|except|excluding|besides|apart from|other than|but|don't|dont|do not|doesn't|isn't|"
    r"aren't|can't|cannot|shouldn't|not|never|keep|keeping|leave|leaving|without|unless)\b"
)
OTHER_VERBS = _words(
    """blur unblur deblur sharpen brighten darken lighten dim move shift rotate turn flip resize rescale scale enlarge
    shrink zoom crop cut colour color colorize colourize recolor recolour desaturate saturate enhance improve fix
    repair restore retouch upscale denoise smooth smoothen dehaze straighten warp stretch duplicate copy clone fill hide
    highlight select find detect show count describe tell segment pixelate pixelize censor emphasize increase decrease
    reduce adjust edit paint take clean wipe clear scrub strip photoshop airbrush make generate create extend expand
    outpaint undo redo save fade soften cartoonify stylize animate trim align relocate reposition bring send push drag
    tint dye beautify whiten slim widen separate uncrop undress rub taking keep leave convert transform change replace
    swap substitute exchange switch add insert put place draw give see get do help identify locate obscure
    apply swapping moving replacing adding keeping blurring use"""
)
REPLACE = re.compile(r"(?:replace|swap|substitute|exchange|switch)(?: out)?\s+(?P<rest>.+)")
CHANGE = re.compile(
    r"(?:turn|change|transform|convert|make)\s+(?P<old>.+?) into (?P<new>.+)"
    r"|(?:change|transform|convert)\s+(?P<old_to>.+) to (?P<new_to>.+)"
)
COLOUR_OF = re.compile(r"(?:the )?colou?r of (?P<object>.+)")
ADD = re.compile(r"(?P<verb>add|insert|put|place|draw)(?: in)?\s+(?P<subject>.+)")
GIVE = re.compile(r"give\s+(?P<target>.+?) (?P<subject>(?:an?|some) .+)")
TO = re.compile(  # "a hat to the man"
    r"^(.+)(?<! next)(?<! close)(?<! closest)(?<! nearby)(?<! adjacent) (?:on)?to "
    r"(?!the (?:left|right) )((?:the|this|that|his|her|my|each|every) .+)$"
)
INCOMPLETE = re.compile(r"(?:replace|swap|substitute|exchange|turn|change|transform|add|insert|put|give)(?: |$)")
NOTHING = re.compile(r"(?:nothing|(?:the |its )?(?:empty )?(?:background|space|surroundings))$")

# Which of them: determiners, numbers, places, orders.
ARTICLES = _words("the a an this that these those my our your his her its their single entire whole")
ALL = _words("all every each both any")
VAGUE = _phrases("a few, some, several, a number of, many, most, a lot of, few")
NUMBERS = {
    word: n for n, word in enumerate(("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), 1)
}
RANKS = {
    word: rank
    for rank, names in enumerate(
        ("first 1st", "second 2nd", "third 3rd", "fourth 4th", "fifth 5th", "sixth 6th", "seventh 7th", "eighth 8th"), 1
    )
    for word in names.split()
} | {"last": -1}
PLACES: dict[str, Side] = {
    "left": "left", "right": "right", "top": "top", "upper": "top", "bottom": "bottom", "lower": "bottom",
    "middle": "middle", "center": "middle", "centre": "middle", "central": "middle", "background": "background",
    "back": "background", "rear": "background", "distance": "background", "foreground": "foreground",
    "front": "foreground",
}  # fmt: skip
PARTS = _words("front back rear")  # before a noun they name a part of it: "the back door"
ORDERS: dict[str, Order] = {
    "leftmost": "left", "rightmost": "right", "topmost": "top", "uppermost": "top", "highest": "top",
    "bottommost": "bottom", "lowest": "bottom", "largest": "largest", "biggest": "largest", "closest": "largest",
    "nearest": "largest", "main": "largest", "smallest": "smallest", "tiniest": "smallest", "farthest": "smallest",
    "furthest": "smallest",
}  # fmt: skip
SIDES: dict[str, Order] = {"left": "left", "right": "right", "top": "top", "bottom": "bottom"}
_NEAREST: tuple[tuple[str, Order], ...] = (
    ("closest to ", "largest"), ("nearest to ", "largest"), ("nearest ", "largest"),
    ("farthest from ", "smallest"), ("furthest from ", "smallest"),
)  # fmt: skip
CAMERA: dict[str, Order] = {
    f"{near}{the}{camera}": order
    for (near, order), the, camera in product(_NEAREST, ("", "the "), ("camera", "viewer"))
}
AREAS = _words("side half part corner edge third end area")
AT = _words("on at in to from toward towards")
FAR = _words("far very extreme")

# What they are like. Colours and sizes are looked at (attributes.py).
COLOURS: dict[str, str] = {
    "red": "red", "crimson": "red", "scarlet": "red", "maroon": "red", "green": "green", "blue": "blue",
    "navy": "blue", "turquoise": "blue", "cyan": "blue", "yellow": "yellow", "golden": "yellow", "gold": "yellow",
    "orange": "orange", "pink": "pink", "magenta": "pink", "purple": "purple", "violet": "purple", "brown": "brown",
    "tan": "brown", "black": "black", "white": "white", "grey": "grey", "gray": "grey", "silver": "grey",
}  # fmt: skip
SHADES = _words("dark light bright pale")
LARGE = _words("big large huge giant enormous")
SMALL = _words("small little tiny")
OPINIONS = _words(
    "ugly beautiful nice cute annoying unwanted random distracting stray photobombing stupid unsightly awful horrible"
)
UNSEEN = _words(
    """beige blond blonde colorful colourful striped spotted transparent shiny tall short long thin thick fat wide
    narrow round square old young new wooden metal metallic plastic leather stone concrete ceramic woollen broken dirty
    clean empty full open closed wet dry blurry lone smiling"""
)
POSTURES = _words(
    """sitting standing lying laying parked walking running hanging resting flying sleeping playing smiling jumping
    talking eating swimming waiting passing moving leaning floating"""
)
ADJECTIVES = frozenset(COLOURS) | SHADES | LARGE | SMALL | OPINIONS | UNSEEN | POSTURES

# How they stand to others.
_HAND = [f"{a} {b}{c}{d}" for a in ("left", "right") for b, c, d in product(("", "hand "), ("", "side "), ("of",))]
_LEFT_OF: dict[str, Relating] = {
    f"{before}{now}{phrase}": "left" if phrase.startswith("left") else "right"
    for before, now, phrase in product(("to the ", "on the ", "at the ", "to ", ""), ("", "immediate "), _HAND)
}
_BESIDE: dict[Relating, str] = {
    "front": "in front of, ahead of",
    "behind": "behind, in back of, at the back of, in the back of",
    "near": """next to, right next to, near, nearby, near to, nearby to, beside, close to, closest to, nearest,
        nearest to, by, alongside, adjacent to""",
    "on": "on, on top of, atop, riding, riding on, onto",
    "above": "above, over",
    "below": "below, beneath, under, underneath",
    "in": "in, inside, inside of, within",
    "with": "with, wearing, holding, carrying, having, walking with, pushing, pulling",
    "at": "from, off, off of, out of, at, attached to, belonging to",
}
RELATIONS: dict[str, Relating] = _LEFT_OF | {
    phrase: kind for kind, phrases in _BESIDE.items() for phrase in _phrases(phrases)
}
CLAUSES = _phrases(
    """that is, that are, that's, which is, which are, who is, who are, who's, that, which, who, located, situated,
    placed, seen, visible"""
)
AND = _phrases("and, &, plus, as well as")

# What they are called.
PRONOUNS = _words("one ones it them him her me us something anything everything thing things stuff")
ANYBODY = {"everyone": "all", "everybody": "all", "anyone": "all", "someone": "one", "somebody": "one"}
CROWDS = _words("crowd audience family couple herd flock")
DRINKS = _words("wine beer water drinking champagne cocktail shot")
CLOSED = (
    ARTICLES | ALL | FAR | frozenset(NUMBERS) | frozenset(RANKS) | frozenset(ORDERS) | AND
    | frozenset(word for phrase in RELATIONS for word in phrase.split())
    | frozenset(word for phrase in CLAUSES for word in phrase.split())
    | _words(
        """ones it them him me us something anything thing things stuff everything he she they we you i who what where
        when why how than as or if because while until after before during since between among amongst through across
        along around against beyond toward towards into upon via per about for is are was were be been being am has have
        had do does did will would could should may might must not no nor neither none never only just even also too
        very really quite rather some several few many most more less least much half other others another else rest
        same such there here to but except without yet so then again back up down away out off together apart
        remove removing erase delete add replace keep not please up versus"""
    )
) - _words("left right hand side front back top seen visible riding walking pushing pulling holding")  # fmt: skip

_OVERLAYS: dict[OverlayKind, str] = {
    "text": """text, caption, subtitle, writing, lettering, letters, word, inscription, wording, title, headline,
        closed caption, handwriting""",
    "watermark": "watermark, water mark, copyright mark, copyright notice",
    "date": "date, date stamp, datestamp, time stamp, timestamp, date and time, time and date, date imprint",
    "scratches": "scratch, crease, film scratch, fold line, fold mark, crack",
    "dust": "dust, spot, dust spot, dust speck, speck, speckle, dust particle, dust mark",
    "wires": """wire, power line, powerline, power cable, telephone line, telephone wire, phone line, phone wire,
        overhead wire, overhead line, overhead cable, electric wire, electrical wire, electric line, cable,
        electricity line, electric cable, utility line""",
}
OVERLAYS: dict[str, OverlayKind] = {name: kind for kind, names in _OVERLAYS.items() for name in _phrases(names)}
MASS = _words("text watermark date dust")  # kinds of which all is meant
SAYING = _words("word words letters")  # "the word STOP"
