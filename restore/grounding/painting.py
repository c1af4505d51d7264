"""Which objects the embedded shape network has learnt to paint, and under which name."""

from __future__ import annotations

import re

from restore.errors import InputError, ObjectNotFoundError
from restore.grounding.vocabulary import Vocabulary

KINDS = ("cat", "dog", "person")  # each under any of its names ("puppy", "woman")
SOLIDS = ("ball", "cube", "cylinder", "cone")  # rendered ones, with their size and colour


def paintable(subject: str) -> str:
    """The name by which the network knows `subject` ("a small dog"). Raises InputError if it knows none."""
    words = re.sub(r"^(?:an?|the|some|one|another) ", "", subject.lower().strip())
    if words.split()[-1:] and words.split()[-1] in SOLIDS:
        return words
    table = Vocabulary.load()
    try:
        entry = table.lookup(words)
        for kind in KINDS:
            known = table.lookup(kind)
            if (entry.person and known.person) or (entry.classes and set(entry.classes) <= set(known.classes)):
                return kind
    except ObjectNotFoundError:  # a word that nobody knows: as one that is known but not learnt
        pass
    raise InputError(
        f"expected to add one of {', '.join(KINDS + SOLIDS)}, got '{words}': the embedded model has learnt no other; "
        "use one that hears any words, for example --model sd15-inpaint"
    )
