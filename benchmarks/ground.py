"""Words → mask on real photos: IoU with human masks, and how often absent objects are "found".

Example:
  python -m benchmarks.ground --data ../shared/data/eval/remove --out runs/benchmark-ground

OUT gets table.md, sheet.png (found in red, true outline in green) and false_finds.png: the absent names are those of
other photos' objects, and some do stand in the photo, unlabelled; look before believing the share.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from restore import Engine, ObjectNotFoundError
from restore.training.publish import set_scores


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def find(engine: Engine, image: np.ndarray, prompt: str) -> np.ndarray:
    """Mask (H, W) of what the prompt names; empty when it is not found."""
    try:
        return engine.segment(image, prompt=prompt).mask
    except ObjectNotFoundError:
        return np.zeros(image.shape[:2], bool)


def line(name: str, scores: list[float]) -> str:
    s = np.array(scores)
    return (
        f"| {name} | {len(s)} | {s.mean():.3f} | {np.median(s):.3f} | {(s >= 0.5).mean():.2f} | {(s == 0).mean():.2f} |"
    )


def picture(image: np.ndarray, mask: np.ndarray, truth: np.ndarray, title: str, side: int = 256) -> np.ndarray:
    """The photo with the found mask in red and the true outline in green."""
    shown = image.copy()
    shown[mask] = shown[mask] // 2 + np.array([127, 0, 0], np.uint8)
    outline = cv2.dilate(truth.astype(np.uint8), np.ones((5, 5), np.uint8)) - truth.astype(np.uint8)
    shown[outline > 0] = (0, 255, 0)
    shown = cv2.resize(shown, (side, side), interpolation=cv2.INTER_AREA)
    cv2.putText(shown, title, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 0), 1)
    return shown


def sheet(tiles: list[np.ndarray], columns: int = 8) -> np.ndarray:
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    return np.vstack([np.hstack(row + [np.zeros_like(tiles[0])] * (columns - len(row))) for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with index.jsonl, photos and masks")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--absent", type=int, default=5, help="absent classes asked of every photo [default: 5]")
    parser.add_argument("--record", action="store_true", help="enter the figures in the manifest")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(text) for text in (args.data / "index.jsonl").read_text().splitlines()][: args.limit]
    engine, rng = Engine(device="cpu"), np.random.default_rng(0)
    names = sorted({row["object"] for row in rows})
    scores: dict[str, list[float]] = {}
    tiles, false_finds, asked = [], [], 0
    for row in rows:
        image = np.asarray(cv2.imread(str(args.data / row["image"])))[..., ::-1].copy()
        truth = np.asarray(cv2.imread(str(args.data / row["mask"]), cv2.IMREAD_GRAYSCALE)) > 127
        mask = find(engine, image, row["prompt"])
        score = iou(mask, truth)
        scores.setdefault(row["object"], []).append(score)
        print(f"{score:.3f}  {row['prompt']}  {row['image']}", flush=True)
        tiles.append(picture(image, mask, truth, f"{score:.2f} {row['prompt']}"))
        # Absent: classes of other photos that this photo's index row does not name; a few may be there unlabelled.
        others = [name for name in names if name != row["object"]]
        for name in rng.choice(others, min(args.absent, len(others)), replace=False):
            asked += 1
            if (found := find(engine, image, f"remove every {name}")).any():
                false_finds.append(picture(image, found, np.zeros_like(found), str(name)))
                print(f"       found: {name}", flush=True)
    lines = ["| object | photos | mean IoU | median | ≥ 0.5 | missed |", "|---|---|---|---|---|---|"]
    lines += [line("all", [s for v in scores.values() for s in v]), line("person", scores.get("person", [0.0]))]
    lines += [line("not person", [s for k, v in scores.items() if k != "person" for s in v])]
    lines += [line(k, v) for k, v in sorted(scores.items()) if k != "person"]
    if asked:
        share = len(false_finds) / asked
        lines.append(f"\nFalse finds of absent objects: {len(false_finds)} of {asked} ({share:.1%})")
    (args.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    cv2.imwrite(str(args.out / "sheet.png"), sheet(tiles)[..., ::-1])
    if false_finds:
        cv2.imwrite(str(args.out / "false_finds.png"), sheet(false_finds)[..., ::-1])
    if args.record:
        means = {"iou": [s for v in scores.values() for s in v], "iou_person": scores.get("person", [0.0])}
        card = {f"remove_{name}": round(float(np.mean(v)), 4) for name, v in means.items()}
        set_scores("grounder", card | ({"remove_false_finds": round(share, 4)} if asked else {}))


if __name__ == "__main__":
    main()
