"""Other people's models on a CUDA machine: what the engine costs beside the bare model, memory, precision, compile.

  python -m benchmarks.gpu --model FOLDER [--model FOLDER …] --out runs/benchmark-gpu [--steps 20] [--size 1024]
  python -m benchmarks.gpu --toy            # made-up models: what `--model` needs real weights for, without them
  python -m benchmarks.gpu --toy --device cpu --size 64 --steps 2      # tries itself

For each model: steps/s of a bare call of the diffusers class and of the same call through the engine's painter (the aim
is 90 % at least), whether both pictures are the same, peak memory against what was planned, the distance of bfloat16
and float16 fills to float32, steps/s once the denoiser is compiled, and candidates one by one against all in one call
(which is taken only where it gives the same bytes). OUT gets gpu.json and table.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from restore.errors import RestoreError
from restore.hub.cache import quiet
from restore.pipelines.hub.inpaint import HubPainter, PainterOptions
from restore.pipelines.hub.opening import load, plan_for
from restore.pipelines.hub.placement import HEADROOM, MARGIN

REPEATS = 5
CANDIDATES = 4
AIM = 0.9  # of the bare model's speed
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

Maker = Callable[[torch.dtype], Any]  # a new pipeline
Sample = tuple[Any, Any]  # picture and hole


@dataclass(frozen=True)
class Figures:
    """Of one model in one precision. bare, engine, compiled: steps/s, None where not tried; same: equal pictures;
    weights, planned, peak: GB, peak None on a CPU; distance: mean |difference| to float32's picture, levels; at_once:
    how many of CANDIDATES are drawn in one call, 1 where their bytes differ; gain: in how much less time."""

    model: str
    dtype: str
    bare: float
    engine: float
    same: bool
    compiled: float | None
    weights: float
    planned: float
    peak: float | None
    distance: float
    at_once: int
    gain: float

    @property
    def share(self) -> float:
        return self.engine / self.bare


def measured(
    name: str,
    make: Maker,
    device: torch.device,
    size: int,
    steps: int,
    compiling: bool,
    repeats: int = REPEATS,
    candidates: int = CANDIDATES,
) -> list[Figures]:
    """The figures of a model in every precision, float32 first."""
    rows, truth = [], None
    for dtype in DTYPES:
        pipe = make(DTYPES[dtype])
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        painter = HubPainter(pipe, PainterOptions(size), device, name)
        sample = _sample(painter.shape_for((size, size)))
        weights = sum(p.numel() * p.element_size() for part in _parts(pipe) for p in part.parameters()) / 1e9
        picture = _fill(painter, sample, steps)
        bare, engine, same = _bare_and_engine(painter, sample, steps, device, repeats)
        peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
        truth = picture if truth is None else truth
        compiled = _compiled(painter, sample, steps, device) if compiling else None
        distance = 255 * float(np.abs(picture - truth).mean())
        planned = MARGIN * weights + HEADROOM / 1e9
        at_once, gain = 1, 1.0
        if candidates > 1:
            at_once, gain = together(make(DTYPES[dtype]), device, size, sample, steps, candidates)
        rows.append(Figures(name, dtype, bare, engine, same, compiled, weights, planned, peak, distance, at_once, gain))
        del pipe, painter
    return rows


def _sample(shape: tuple[int, int]) -> Sample:
    """A smooth picture with grain, and a hole in its middle."""
    height, width = shape
    rng = np.random.default_rng(0)
    slope = np.linspace(60, 190, width)[None, :, None] + rng.normal(0, 6, (height, width, 3))
    hole = np.zeros(shape, bool)
    hole[height // 3 : height // 3 * 2, width // 3 : width // 3 * 2] = True
    return slope.clip(0, 255).astype(np.uint8), hole


def _fill(painter: HubPainter, sample: Sample, steps: int) -> Any:
    generator = torch.Generator().manual_seed(7)
    return painter(*sample, "a dog", "cat", generator=generator, num_inference_steps=steps)


def _bare_and_engine(
    painter: HubPainter, sample: Sample, steps: int, device: torch.device, repeats: int
) -> tuple[float, float, bool]:
    """Steps/s of the class's own call and of the painter's, in turns; whether both make the same picture."""
    given = painter.arguments(*sample, "a dog", "cat", steps, None)
    given.pop(painter.able.callback, None)
    given.pop("within", None)
    seconds: dict[str, list[float]] = {"bare": [], "engine": []}
    pictures: dict[str, Any] = {}

    def bare() -> Any:
        with quiet("diffusers", "transformers"):
            return painter.pipe(**given, generator=torch.Generator().manual_seed(7)).images[0]

    ways: dict[str, Callable[[], Any]] = {"bare": bare, "engine": lambda: _fill(painter, sample, steps)}
    for _ in range(repeats):
        for way, call in ways.items():
            started = _now(device)
            pictures[way] = np.asarray(call())
            seconds[way].append(_now(device) - started)
    per = {way: steps / statistics.median(times) for way, times in seconds.items()}
    return per["bare"], per["engine"], bool(np.array_equal(pictures["bare"], pictures["engine"]))


def together(pipe: Any, device: torch.device, size: int, sample: Sample, steps: int, count: int) -> tuple[int, float]:
    """How many of `count` candidates may be drawn in one call, and how much sooner than one by one they are."""
    seconds = {}
    for way in (False, True):
        painter = HubPainter(pipe, PainterOptions(size, together=way), device, "candidates")
        for _ in range(2):  # the first tries whether it may
            generators = [torch.Generator().manual_seed(7 + k) for k in range(count)]
            started = _now(device)
            list(painter.several(*sample, "a dog", "cat", generators=generators, num_inference_steps=steps))
            seconds[way] = _now(device) - started
    at_once = max([1, *(n for (_, n), alike in painter.together.alike.items() if alike)])
    return at_once, seconds[False] / seconds[True]


def _compiled(painter: HubPainter, sample: Sample, steps: int, device: torch.device) -> float | None:
    """Steps/s with the denoiser compiled; None where that fails."""
    part = next(name for name in ("transformer", "unet") if getattr(painter.pipe, name, None) is not None)
    try:
        getattr(painter.pipe, part).compile()
        _fill(painter, sample, steps)
        started = _now(device)
        _fill(painter, sample, steps)
        return steps / (_now(device) - started)
    except RestoreError:
        return None


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _parts(pipe: Any) -> list[torch.nn.Module]:
    return [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]


def from_folder(folder: Path) -> Maker:
    """Pipelines of a folder. Raises ModelUnavailableError."""
    plan = plan_for(folder)
    return lambda dtype: load(plan, dtype)


def table(rows: list[Figures]) -> str:
    lines = [
        "| model | precision | bare steps/s | engine | share | same picture | compiled | peak / plan GB | distance "
        "| candidates at once |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        memory = f"{'–' if r.peak is None else f'{r.peak:.2f}'} / {r.planned:.2f}"
        compiled = "–" if r.compiled is None else f"{r.compiled:.2f}"
        share = f"{r.share:.3f}{'' if r.share >= AIM else ' (missed)'}"
        lines.append(
            f"| {r.model} | {r.dtype} | {r.bare:.2f} | {r.engine:.2f} | {share} | {'yes' if r.same else 'no'} | "
            f"{compiled} | {memory} | {r.distance:.2f} | {r.at_once}, ×{r.gain:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, action="append", default=[])
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-gpu"))
    args = parser.parse_args()
    makers: dict[str, Maker] = {str(folder): from_folder(folder) for folder in args.model}
    if args.toy:
        from benchmarks.gpu_toys import toys

        makers |= toys(large=args.device != "cpu")
    device, rows = torch.device(args.device), []
    for name, make in makers.items():
        rows += measured(name, make, device, args.size, args.steps, not args.no_compile)
        print(table(rows[-len(DTYPES) :]), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "gpu.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    (args.out / "table.md").write_text(table(rows))


if __name__ == "__main__":
    main()
