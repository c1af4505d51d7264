"""Pictures in folders, and what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from restore.errors import InputError
from restore.images.decode import SUFFIXES


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, and of folders all pictures inside, sorted, without masks (X.mask.png).

    Raises InputError for a path that is not there and where nothing is found.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not _is_mask(p))
            found += sorted(p for p in inside if p.is_file())
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


def _is_mask(path: Path) -> bool:
    return path.stem.endswith(".mask")
