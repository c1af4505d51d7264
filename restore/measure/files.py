"""Pictures in folders, and what belongs to them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from restore.errors import InputError
from restore.images.decode import KINDS, SUFFIXES

# Of files whose names do not say what they are: JPEG, PNG, TIFF; two letters are too few to tell a BMP.
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*")


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, and of folders all pictures inside, sorted, without masks (X.mask.png).

    A picture is what its name or, where that says nothing, its content says. Hidden files and folders are passed over;
    what else is no picture is told of, with a UserWarning.
    Raises InputError for a path that is not there and where nothing is found.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            files = [p for p in path.rglob("*") if not _is_hidden(p.relative_to(path)) and p.is_file()]
            pictures = [p for p in files if _is_picture(p)]
            found += sorted(p for p in pictures if not _is_mask(p))
            _tell({*files} - {*pictures}, path)
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"{path}: expected an image file or a folder, found nothing there; check the path")
    if not found:
        raise InputError(
            f"expected pictures in {', '.join(map(str, paths))}, found none; formats: {', '.join(SUFFIXES)}"
        )
    return found


def check_folder(path: Path) -> None:
    """Raises InputError where there is no such folder."""
    if not path.is_dir():
        raise InputError(f"{path}: expected a folder of pictures, found none")


def partner(image: Path, others: Path | None, kind: str, alone: bool) -> Path | None:
    """The file of `others` that belongs to `image`: of a folder the one of its stem, or STEM.mask; a file as it is.

    A file can belong to one picture only (`alone`). A folder without a match gives None.
    Raises InputError for a missing path, a file given for many pictures, and several files of the stem.
    """
    if others is None:
        return None
    if not others.exists():
        raise InputError(f"{others}: expected the {kind} or a folder of them, found nothing there; check the path")
    if not others.is_dir():
        if not alone:
            raise InputError(
                f"{others}: expected a folder with a {kind} per picture, got one file for several pictures"
            )
        return others
    names = (image.stem, f"{image.stem}.mask") if kind == "mask" else (image.stem,)
    found = [others / f"{name}{suffix}" for name in names for suffix in SUFFIXES]
    found = [path for path in found if path.is_file()]
    if len(found) > 1:
        raise InputError(f"{others}: expected one {kind} for {image.name}, found {', '.join(p.name for p in found)}")
    return found[0] if found else None


def _is_hidden(inside: Path) -> bool:
    """What systems leave beside pictures: ._photo.jpg, .thumbnails/."""
    return any(part.startswith(".") for part in inside.parts)


def _is_picture(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            head = file.read(12)
            return head.startswith(_BEGINNINGS) or (head[:4], head[8:]) == (b"RIFF", b"WEBP")
    except OSError:
        return False


def _tell(others: set[Path], folder: Path) -> None:
    """What is passed over in a folder."""
    if others:
        kinds = Counter(path.suffix or "no suffix" for path in others)
        listed = ", ".join(f"{count} × {kind}" for kind, count in sorted(kinds.items()))
        warnings.warn(f"{folder}: passed over {listed}, which are no {KINDS} files", stacklevel=3)


def _is_mask(path: Path) -> bool:
    return path.stem.endswith(".mask")
