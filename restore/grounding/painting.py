"""Which objects the embedded shape network has learnt to paint, and under which name."""

from __future__ import annotations

import re

from restore.errors import InputError, ObjectNotFoundError
from restore.grounding.vocabulary import Vocabulary

KINDS = ("cat", "dog", "person")  # each under any of its names ("puppy", "woman")
SOLIDS = ("ball", "cube", "cylinder", "cone")  # rendered ones, with their size and colour
LIKE = ("small", "large", "red", "green", "blue", "yellow", "purple", "cyan", "orange", "grey")


def paintable(subject: str) -> str:
    """The name by which the network knows `subject` ("a puppy"). Raises InputError if it knows none.

    Solids are known by size and colour too; of an animal or person nothing but its kind can be told.
    """
    words = re.sub(r"^(?:an?|the|some|one|another) ", "", subject.lower().strip())
    *like, last = words.split() or [""]
    if last in SOLIDS and set(like) <= set(LIKE):
        return words
    table = Vocabulary.load()
    unheard: tuple[str, ...] = ()
    try:
        entry = table.lookup(words)
        for kind in KINDS:
            known = table.lookup(kind)
            if (entry.person and known.person) or (entry.classes and set(entry.classes) <= set(known.classes)):
                unheard = entry.rest
                if not unheard:
                    return kind
    except ObjectNotFoundError:  # a word that nobody knows: as one that is known but not learnt
        pass
    which = f"it cannot paint '{' '.join(unheard)}'" if unheard else "the embedded model has learnt no other"
    raise InputError(
        f"expected to add one of {', '.join(KINDS + SOLIDS)}, got '{words}': {which}; "
        "use one that hears any words, for example --model sd15-inpaint"
    )
