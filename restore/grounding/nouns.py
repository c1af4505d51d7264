"""Number of English nouns, by rule."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# "a pair of shoes" means the shoes, "a cup of coffee" the cup.
MEASURES = _words("pair group bunch couple herd flock crowd lot set stack pile row kind type piece number")
VESSELS = _words("cup glass bottle mug bowl plate can jar pot box bag basket bucket barrel vase tray jug pitcher")
IRREGULAR = {
    "people": "person", "children": "child", "men": "man", "women": "woman", "mice": "mouse",
    "geese": "goose",
    "feet": "foot", "teeth": "tooth", "oxen": "ox", "cacti": "cactus", "octopi": "octopus", "fungi": "fungus",
    "skis": "ski", "taxis": "taxi", "kiwis": "kiwi", "bikinis": "bikini", "corgis": "corgi", "menus": "menu",
    "emus": "emu", "gnus": "gnu", "shoes": "shoe", "canoes": "canoe", "toes": "toe", "oboes": "oboe",
    "ties": "tie",
    "pies": "pie", "lenses": "lens", "buses": "bus", "busses": "bus", "gases": "gas", "folks": "person",
    "knives": "knife", "wives": "wife", "housewives": "housewife", "valves": "valve", "curves": "curve",
    "grooves": "groove",
}  # fmt: skip
# End in s in the singular, or have no singular.
SINGULAR = _words(
    """bus gas lens canvas atlas iris tennis christmas glasses sunglasses eyeglasses spectacles scissors
    pants jeans
    shorts trousers binoculars goggles pliers tongs tights leggings pajamas pyjamas clothes headphones
    chassis clematis
    ibis trellis series species mantis pancreas gallows barracks"""
)


def singulars(word: str) -> list[str]:
    """Possible singulars of a plural noun, likeliest first; empty if the word does not look like a plural."""
    if word in IRREGULAR:
        return [IRREGULAR[word]]
    if word.endswith("men") and len(word) > 4:
        return [word[:-3] + "man"] if word not in ("specimen", "abdomen", "stamen", "women") else []
    if word in SINGULAR or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return []
    if word.endswith("ies"):
        return [word[:-3] + "y", word[:-1]]
    if word.endswith(("lves", "rves", "eaves", "oaves", "ieves", "ooves")):  # wolves, scarves, leaves, hooves
        return [word[:-3] + "f", word[:-1]]
    if word.endswith("ves"):  # gloves, sleeves
        return [word[:-1], word[:-3] + "f"]
    if word.endswith(("sses", "xes", "ches", "shes", "zzes", "oes")) or (
        word.endswith("uses") and not word.endswith("ouses")
    ):
        return [word[:-2], word[:-1]]
    if word.endswith(("ses", "zes")):
        return [word[:-1], word[:-2]]
    return [word[:-1]]
