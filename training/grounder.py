"""Train the promptable segmenter of the grounder (restore/grounding/segmenter.py).

Example:
  python -m restore.training.grounder --config training/recipes/grounder.yaml \\
      --data ../shared/data/objects.tar ../shared/data/photos-*.tar --out runs/grounder --minutes 40
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from restore.backbone import Lite0
from restore.grounding.segmenter import Segmenter, click_map
from restore.training.data import PhotoCache
from restore.training.loop import Trainer, parse_args
from restore.training.scenes import BACKGROUNDS, PEOPLE, Cutout, Scene, load_objects, sample_scene


@torch.no_grad()
def classes_of(net: Segmenter, cut: Cutout, count: int = 8) -> list[int]:
    """What the classifier calls a cut-out: its most likely classes, summed over the object's cells."""
    image = cv2.resize(cut.image, (256, 256), interpolation=cv2.INTER_AREA)
    f = net.encode(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
    cells = F.adaptive_avg_pool2d(
        torch.from_numpy(cv2.resize((cut.mask > 0).astype(np.float32), (256, 256)))[None, None], 8
    )
    return (f.logits.softmax(1) * cells).sum((0, 2, 3)).topk(count).indices.tolist()


def known_classes(net: Segmenter, cuts: list[Cutout], path: Path) -> list[list[int]]:
    """`classes_of` for every cut-out, remembered in `path`."""
    if not path.exists():
        path.write_text(json.dumps([classes_of(net, cut) for cut in cuts]))
    found: list[list[int]] = json.loads(path.read_text())
    return found


def prompt_of(
    scene: Scene, cuts: list[Cutout], classes: list[list[int]], logits: Tensor, size16: int, rng: np.random.Generator
) -> tuple[Tensor, float, np.ndarray, float]:
    """A random prompt for a scene: (map (1, h, w), is_click, target mask, weight of the object loss)."""
    size = scene.image.shape[0]
    visible = [i for i, m in enumerate(scene.instances) if m.sum() > 60]
    if visible and rng.random() < 0.5:
        i = visible[rng.integers(len(visible))]
        ys, xs = np.nonzero(scene.instances[i])
        k = rng.integers(len(ys))
        point = torch.tensor([[xs[k], ys[k]]]).float() * size16 / size
        return click_map(point, size16, size16)[0], 1.0, scene.instances[i], 1.0
    named = [i for i in visible if cuts[scene.kinds[i]].kinds[0] != PEOPLE]
    if named and rng.random() < 0.8:
        i = named[rng.integers(len(named))]
        label = cuts[scene.kinds[i]].kinds[0]
        chosen = classes[scene.kinds[i]][: int(rng.integers(1, 9))]
        same = [j for j in visible if cuts[scene.kinds[j]].kinds[0] == label]
        target = np.any([scene.instances[j] for j in same], axis=0)
    else:  # a class that the scene most likely does not hold
        present = {c for k in scene.kinds for c in classes[k]}
        chosen = [c for c in rng.integers(0, 1000, 4).tolist() if c not in present] or [0]
        target = np.zeros((size, size), bool)
    evidence = logits.float().softmax(0)[chosen].sum(0, keepdim=True)
    evidence = F.interpolate(evidence[None], size=(size16, size16), mode="bilinear", align_corners=False)[0]
    return evidence.clamp(0, 1), 0.0, target, 1.0 if target.any() else 0.5


def segmentation_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy + Dice per image, (N,)."""
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2, 3))
    p = logits.sigmoid()
    dice = 1 - (2 * (p * target).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)
    return weight * (2 * bce + dice * (target.amax((1, 2, 3)) > 0.5))


def main() -> None:
    args = parse_args(__doc__)
    recipe = args.recipe
    cuts = [c for source in args.data if "objects" in source.name for c in load_objects(source)]
    cache = PhotoCache.open(args.out / "photos", [s for s in args.data if "objects" not in s.name])
    plain = [i for i in range(len(cache)) if cache.name(i).split("-")[0] in BACKGROUNDS] or list(range(len(cache)))
    lite0 = Lite0().eval()
    lite0.load_state_dict(load_file("restore/weights/lite0.safetensors"))
    net = Segmenter(lite0).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    classes = known_classes(net, cuts, args.out / "classes.json")
    fresh = [p for name, p in net.named_parameters() if p.requires_grad and not name.startswith("tuned")]
    groups = [{"params": fresh, "lr": recipe["lr"]}, {"params": net.tuned.parameters(), "lr": recipe["lr"] * 0.3}]
    trainer = Trainer(net, groups, recipe, args)
    print(len(cuts), "labelled photos,", len(plain), "backgrounds", flush=True)
    n, size = recipe["batch"], recipe["size"]
    while trainer.progress < 1:
        rng = np.random.default_rng([recipe["seed"], trainer.step])
        scenes = [sample_scene(cuts, cache, plain, size, rng) for _ in range(n)]
        x = torch.from_numpy(np.stack([s.image for s in scenes])).permute(0, 3, 1, 2).float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            f = net.encode(x.to(memory_format=torch.channels_last))
            prompts = [prompt_of(s, cuts, classes, f.logits[i], size // 16, rng) for i, s in enumerate(scenes)]
            prompt = torch.stack([p[0] for p in prompts])
            clicks = torch.tensor([p[1] for p in prompts])
            obj, person = net.decode(f, prompt, clicks)
        people = [
            np.any(
                [m for m, k in zip(s.instances, s.kinds, strict=True) if cuts[k].kinds[0] == PEOPLE]
                or [np.zeros((size, size), bool)],
                axis=0,
            )
            for s in scenes
        ]
        masks = np.stack([np.stack([p[2], q]) for p, q in zip(prompts, people, strict=True)]).astype(np.float32)
        target = F.avg_pool2d(torch.from_numpy(masks), 4)
        # Labels by model are single-object photos where a person may stand unlabelled: trust empty ones less.
        trusted = torch.tensor([1.0 if q.any() else 0.5 for q in people])
        object_loss = segmentation_loss(obj.float(), target[:, :1], torch.tensor([p[3] for p in prompts])).mean()
        person_loss = segmentation_loss(person.float(), target[:, 1:], trusted).mean()
        trainer.update(object_loss + person_loss)
        trainer.log(object=object_loss.item(), person=person_loss.item())
        with torch.no_grad():
            for name, logit, goal in (("iou_object", obj, target[:, :1]), ("iou_person", person, target[:, 1:])):
                a, b = logit > 0, goal > 0.5
                for i in range(n):
                    if b[i].any():
                        trainer.log(**{name: ((a[i] & b[i]).sum() / (a[i] | b[i]).sum()).item()})
    trainer.save()
    state = load_file(args.out / "weights.safetensors")
    own = {k: v for k, v in state.items() if not k.startswith("lite0.")}
    save_file(own, args.out / "grounder.safetensors")


if __name__ == "__main__":
    main()
