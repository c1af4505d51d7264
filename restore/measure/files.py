"""Pictures in folders, and what belongs to them."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
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
            passed: Counter[str] = Counter()
            found += sorted(Path(entry.path) for entry in walk_pictures(path, passed))
            tell_passed(passed, path)
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


def walk_pictures(folder: Path, passed: Counter[str]) -> Iterator[os.DirEntry[str]]:
    """The pictures in a folder and those below it, a folder's own first, each folder sorted by name.

    Nothing is held of a folder but its own entries. Hidden entries (._photo.jpg, .thumbnails/) and masks (X.mask.png)
    are passed over; links to folders are followed, to each folder once. What is no picture is counted in `passed` by
    its suffix.
    """
    seen: set[tuple[int, int]] = set()
    stack = [os.fspath(folder)]
    while stack:
        here = stack.pop()
        try:
            status = os.stat(here)
            with os.scandir(here) as entries:
                inside = sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
        except OSError:  # gone meanwhile, or not ours to read
            passed["unreadable folder"] += 1
            continue
        if (status.st_dev, status.st_ino) in seen and status.st_ino:
            continue
        seen.add((status.st_dev, status.st_ino))
        below = [entry.path for entry in inside if entry.is_dir()]
        stack += reversed(below)
        for entry in inside:
            if entry.is_dir():
                continue
            if not _is_picture(entry.path):
                passed[os.path.splitext(entry.name)[1] or "no suffix"] += 1
            elif not _is_mask(entry.name):
                yield entry


def _is_picture(path: str) -> bool:
    if os.path.splitext(path)[1].lower() in SUFFIXES:
        return True
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            head = file.read(12)
            return head.startswith(_BEGINNINGS) or (head[:4], head[8:]) == (b"RIFF", b"WEBP")
    except OSError:
        return False


def tell_passed(passed: Counter[str], folder: Path) -> None:
    """What was passed over in a folder, with a UserWarning."""
    if passed:
        listed = ", ".join(f"{count} × {kind}" for kind, count in sorted(passed.items()))
        warnings.warn(f"{folder}: passed over {listed}, which are no {KINDS} files", stacklevel=3)


def _is_mask(name: str) -> bool:
    return os.path.splitext(name)[0].endswith(".mask")
