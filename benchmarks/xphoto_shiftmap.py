"""OpenCV-contrib's `xphoto` SHIFTMAP fill, run by an interpreter of its own.

opencv-contrib-python and opencv-python share the `cv2` folder, so this script stands alone: it needs
`opencv-contrib-python` and `numpy` only. He & Sun, "Statistics of patch offsets for image completion".

  python -m venv venv-xphoto && venv-xphoto/bin/pip install opencv-contrib-python numpy
  venv-xphoto/bin/python benchmarks/xphoto_shiftmap.py DATA OUT [--limit N]

DATA holds X.jpg and X.mask.png (255 = hole); OUT gets X.png and X.seconds (CPU time). Fills already there
are kept.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np


def shiftmap(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """image: (H, W, 3) BGR uint8; mask: (H, W) bool, True = hole. Works in CIELab, as its manual asks."""
    xphoto = getattr(cv2, "xphoto", None)
    if xphoto is None:
        raise SystemExit("expected opencv-contrib-python, got another OpenCV; see the top of this script")
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2Lab)
    known = np.where(mask, 0, 255).astype(np.uint8)
    filled = np.zeros_like(lab)
    xphoto.inpaint(lab, known, filled, xphoto.INPAINT_SHIFTMAP)
    return cv2.cvtColor(filled, cv2.COLOR_Lab2BGR)


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--limit", type=int, help="the first N photos only")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    for path in sorted(args.data.glob("*.mask.png"))[: args.limit]:
        name = path.name.removesuffix(".mask.png")
        target = args.out / f"{name}.png"
        if target.exists():
            continue
        image = np.asarray(cv2.imread(str(path.with_name(f"{name}.jpg"))))
        mask = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) > 127
        begun = time.process_time()
        filled = shiftmap(image, mask)
        seconds = time.process_time() - begun
        # It repaints a rim of known pixels too; every method is scored with the known pixels pasted back.
        filled[~mask] = image[~mask]
        cv2.imwrite(str(target), filled)
        target.with_suffix(".seconds").write_text(f"{seconds:.3f}")


if __name__ == "__main__":
    main()
