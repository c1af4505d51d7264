"""What every recipe shares: one loop over a `Task`, on a CPU, one GPU or several (accelerate).

A run folder holds checkpoint.pt (exact resume), weights.safetensors (averaged, fp16), losses.csv, curves.png and
run.json (what `restore.training.publish` enters in the manifest).
"""

from __future__ import annotations

import copy
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import send_to_device
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from restore.errors import Cancelled, InputError, RestoreError
from restore.images.files import replacing, write_text
from restore.training.curves import Curves
from restore.training.data.photos import source_names

WARM_UP = 200  # steps
CLIP = 1.0  # norm of the gradient
SAVE_EVERY = 240.0  # seconds
PATIENCE = 5  # steps in a row without a finite loss


class Task(nn.Module):
    """One model's data, losses and evaluation. `net` is trained, averaged and checkpointed.

    Frozen helpers are other attributes. `batch` is called in worker processes: it touches no module.
    """

    net: nn.Module
    critic: nn.Module | None  # trained and checkpointed beside net, neither averaged nor exported
    step = 0  # of the run, set before each `forward`
    slow: ClassVar[dict[str, float]] = {}  # prefix of parameter names in net → share of the learning rate

    def __init__(self) -> None:
        super().__init__()
        self.critic = None

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        """CPU tensors, the first one's length = samples. Depends on `rng` and `progress` in [0, 1] only."""
        raise NotImplementedError

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalars to log (NaN where a batch has none), under autocast; "loss" is minimised."""
        raise NotImplementedError

    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """Figures of the averaged weights on fixed held-out samples, at every checkpoint."""
        return {}

    def export(self, net: nn.Module) -> dict[str, Tensor]:
        """The tensors to ship."""
        return net.state_dict()


def progress_of(step: int, steps: int, elapsed: float, budget: float) -> float:
    """Share of the run that is done, in [0, 1]: by steps or by seconds, whichever is further."""
    return min(1.0, max(step / steps, elapsed / budget))


def rate_factor(step: int, progress: float, decay: float) -> float:
    """Warm-up over the first steps, then constant, then linear to zero over the last share `decay` of the run."""
    return min(1.0, (1 - progress) / decay) * min(1.0, (step + 1) / WARM_UP)


@torch.no_grad()
def average(ema: nn.Module, net: nn.Module, step: int, ema_decay: float) -> None:
    """Moving average of the weights after `step` steps; its window grows from one step (start-up bias)."""
    keep = min(ema_decay, (step + 1) / (step + 10))
    pairs = [p for p in zip(ema.parameters(), net.parameters(), strict=True) if p[1].requires_grad]
    if pairs:
        mine, theirs = map(list, zip(*pairs, strict=True))
        torch._foreach_lerp_(mine, theirs, 1 - keep)
    for kept, current in zip(ema.buffers(), net.buffers(), strict=True):
        kept.copy_(current)


def precision_of(wanted: str, device_type: str) -> str:
    """accelerate's name of the precision: bf16 or no."""
    if wanted not in ("auto", "bf16", "no"):
        raise InputError(f"expected precision auto, bf16 or no, got '{wanted}'; correct the recipe")
    if wanted != "auto":
        return wanted
    if device_type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "no"
    return "bf16" if device_type == "cpu" else "no"


class _Batches(Dataset[dict[str, Tensor]]):
    """Step and progress → batch, seeded by [seed, step, process]."""

    def __init__(self, task: Task, seed: int, process: int) -> None:
        self.batch: Callable[[np.random.Generator, float], dict[str, Tensor]] = task.batch
        self.seed, self.process = seed, process

    def __getitem__(self, key: tuple[int, float]) -> dict[str, Tensor]:
        step, progress = key
        return self.batch(np.random.default_rng([self.seed, step, self.process]), progress)


def _quiet_worker(_: int) -> None:
    """Ctrl-C is the main process's to handle; one thread per worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(0)


class Trainer:
    """The state of one run; `fit` goes on from wherever it stands."""

    def __init__(
        self, task: Task, recipe: dict[str, Any], out: Path, accelerator: Accelerator, minutes: float, workers: int
    ) -> None:
        self.recipe, self.out, self.accelerator, self.task, self.workers = recipe, out, accelerator, task, workers
        self.step, self.samples, self.elapsed, self.budget = 0, 0, 0.0, minutes * 60
        groups: dict[float, list[nn.Parameter]] = {}
        critic = [] if task.critic is None else [("critic", p) for p in task.critic.parameters()]
        for name, p in [*task.net.named_parameters(), *critic]:
            if p.requires_grad:
                share = next((s for prefix, s in task.slow.items() if name.startswith(prefix)), 1.0)
                groups.setdefault(share, []).append(p)
        self.rates = [recipe["lr"] * share for share in groups]
        self.params = [p for group in groups.values() for p in group]
        self.wrapped, self.optimiser = task.to(accelerator.device), None
        if groups:  # a task without any is fitted in closed form when made
            adam = torch.optim.AdamW(
                [{"params": group} for group in groups.values()],
                lr=recipe["lr"],
                betas=(0.9, 0.99),
                weight_decay=recipe["weight_decay"],
            )
            self.wrapped, self.optimiser = accelerator.prepare(task, adam)
        self.ema = copy.deepcopy(task.net).eval().requires_grad_(False)
        task.net.train()
        self.pending: dict[str, list[Tensor]] = {}  # losses since the last row
        self.failures, self.stopped = 0, False

    def load(self) -> None:
        """Go on from the run folder's checkpoint. Raises InputError when it is not of this network."""
        path = self.out / "checkpoint.pt"
        if not path.exists():
            raise InputError(f"expected a checkpoint to resume, got none in {self.out}; leave --resume out")
        state = torch.load(path, weights_only=True, map_location="cpu")
        try:
            self.task.net.load_state_dict(state["net"])
            self.ema.load_state_dict(state["ema"])
            if self.task.critic is not None:
                self.task.critic.load_state_dict(state["critic"])
            if self.optimiser is not None:
                self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.samples, self.elapsed = state["step"], state["samples"], state["elapsed"]
        except (KeyError, RuntimeError, ValueError):
            raise InputError(f"expected a checkpoint of this recipe's network, got another in {path}") from None
        device = self.accelerator.device
        self.pending = {name: [v.to(device) for v in values] for name, values in state["pending"].items()}

    def warm_start(self, path: Path) -> None:
        """Take the weights of a safetensors file; only frozen parts may be absent from it."""
        load_into(self.task.net, path)
        self.ema.load_state_dict(self.task.net.state_dict())

    def fit(self, curves: Curves | None) -> None:
        """Train until the steps or minutes are up. Raises Cancelled (with all saved) on Ctrl-C or SIGTERM."""
        main = self.accelerator.is_main_process
        handlers = {s: signal.signal(s, self._stop) for s in (signal.SIGINT, signal.SIGTERM)}
        self.begun = time.monotonic()
        before, saved, seen = self.elapsed, self.elapsed, self.samples
        shape = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        bar = tqdm(total=1.0, initial=self.done, bar_format=shape, disable=not main, mininterval=1)
        batches = iter(self._loader())
        try:
            while self.optimiser is not None and self._goes_on(before):
                loss = self._update(next(batches))
                speed = (self.samples - seen) / (time.monotonic() - self.begun)
                bar.set_postfix_str(f"step {self.step}, loss {loss:.4g}, {speed:.4g} samples/s", refresh=False)
                bar.update(self.done - bar.n)
                if self.step % self.recipe["report"] == 0:
                    self._report(curves)
                if self.elapsed - saved > SAVE_EVERY:  # all processes have the same `elapsed`: they wait in save
                    self.save(curves)
                    saved = self.elapsed
            if not self.stopped:  # an interrupted run writes the row it has begun when it is resumed
                self._report(curves)
            self.save(curves)
        finally:
            bar.close()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if self.stopped:
            raise Cancelled(f"interrupted at step {self.step}; saved in {self.out}, go on with --resume")

    @property
    def done(self) -> float:
        return progress_of(self.step, self.recipe["steps"], self.elapsed, self.budget)

    def _stop(self, number: int, _: Any) -> None:
        if self.stopped:  # the second time at once
            raise KeyboardInterrupt
        self.stopped = True

    def _goes_on(self, before: float) -> bool:
        """Whether another step is due; all processes agree."""
        self.elapsed = before + time.monotonic() - self.begun
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([[self.elapsed, float(self.stopped)]], device=self.accelerator.device)
            elapsed, stopped = self.accelerator.gather(mine).amax(0).tolist()
            self.elapsed, self.stopped = elapsed, stopped > 0
        return self.done < 1 and not self.stopped

    def _loader(self) -> DataLoader[dict[str, Tensor]]:
        def keys() -> Iterator[tuple[int, float]]:
            step = self.step
            while True:  # progress by steps is exact however far the workers are ahead
                yield step, progress_of(step, self.recipe["steps"], self.elapsed, self.budget)
                step += 1

        return DataLoader(
            _Batches(self.task, self.recipe["seed"], self.accelerator.process_index),
            batch_size=None,
            sampler=keys(),
            num_workers=self.workers,
            worker_init_fn=_quiet_worker,
            # Forked, the decoded photos stay shared; elsewhere each worker would hold a copy.
            multiprocessing_context="fork" if self.workers and sys.platform == "linux" else None,
            prefetch_factor=4 if self.workers else None,
        )

    def _update(self, batch: dict[str, Tensor]) -> float:
        """One optimiser step; returns the loss. A step without a finite loss and gradient is skipped."""
        assert self.optimiser is not None
        factor = rate_factor(self.step, self.done, self.recipe["decay"])
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        seed = np.random.SeedSequence([self.recipe["seed"], self.step, self.accelerator.process_index])
        torch.manual_seed(int(seed.generate_state(1)[0]))
        self.task.step = self.step
        losses = self.wrapped(send_to_device(batch, self.accelerator.device, non_blocking=True))
        self.optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(losses["loss"])
        norm = self.accelerator.clip_grad_norm_(self.params, CLIP)
        self.step += 1
        self.samples += len(next(iter(batch.values()))) * self.accelerator.num_processes
        loss = float(self.accelerator.reduce(losses["loss"].detach(), "mean"))
        if not math.isfinite(loss + float(norm)):
            self.failures += 1
            if self.failures == PATIENCE:
                raise RestoreError(
                    f"expected a finite loss, got {PATIENCE} steps in a row without one up to step {self.step}; "
                    f"lower lr, then --resume the last checkpoint in {self.out}"
                )
            return loss
        self.failures = 0
        self.optimiser.step()
        average(self.ema, self.task.net, self.step, self.recipe["ema"])
        for name, value in losses.items():
            self.pending.setdefault(name, []).append(value.detach().float())
        return loss

    def _report(self, curves: Curves | None) -> None:
        """A row of the mean losses since the last one."""
        if curves is not None:
            row = {name: torch.stack(v).nanmean().item() for name, v in sorted(self.pending.items())}
            row = {name: value for name, value in row.items() if not math.isnan(value)}
            curves.write(self.step, self.elapsed / 60, self.samples, row)
        self.pending.clear()

    def save(self, curves: Curves | None) -> None:
        """Checkpoint, averaged weights, evaluation, curves and run.json; each file replaced atomically."""
        if curves is not None and self.accelerator.is_main_process:
            state: dict[str, Any] = {"net": self.task.net.state_dict(), "ema": self.ema.state_dict()}
            state["critic"] = None if self.task.critic is None else self.task.critic.state_dict()
            state["optimiser"] = None if self.optimiser is None else self.optimiser.state_dict()
            state |= {"step": self.step, "samples": self.samples, "elapsed": self.elapsed}
            state["pending"] = {name: [v.cpu() for v in values] for name, values in self.pending.items()}
            with replacing(self.out / "checkpoint.pt", what="checkpoint", overwrite=True) as file:
                torch.save(state, file)
            tensors = {k: v.detach().cpu() for k, v in self.task.export(self.ema).items()}
            tensors = {k: (v.half() if v.dtype == torch.float32 else v).contiguous() for k, v in tensors.items()}
            with replacing(self.out / "weights.safetensors", what="safetensors file", overwrite=True) as file:
                save_file(tensors, file.name)
            with torch.no_grad():
                scores = self.task.evaluate(self.ema)
            curves.write(self.step, self.elapsed / 60, self.samples, {f"eval_{k}": v for k, v in scores.items()})
            curves.draw()
            record = json.loads((self.out / "run.json").read_text())
            record |= {"step": self.step, "samples": self.samples, "minutes": round(self.elapsed / 60, 2)}
            record |= {"finished": self.done >= 1 or self.optimiser is None, "evaluation": scores}
            write_json(self.out / "run.json", record)
        self.accelerator.wait_for_everyone()


def run(
    task_class: Callable[[dict[str, Any], list[Path], Path], Task],
    name: str,
    recipe: dict[str, Any],
    data: list[Path],
    out: Path,
    *,
    minutes: float = float("inf"),
    resume: bool = False,
    warm: Path | None = None,
    tensorboard: bool = False,
    workers: int | None = None,
) -> dict[str, Any]:
    """Train the model `name`; returns what run.json holds.

    recipe: as `load_recipe` gives it. minutes: budget of the whole run, over all its resumptions; the learning
    rate falls to zero at its end. warm: safetensors to start from. workers: processes that make batches (default:
    none on a CPU, 12 at most on a GPU). Raises InputError for unusable data, recipes or run folders, Cancelled on
    Ctrl-C after saving, RestoreError when the loss stays infinite.
    """
    if not resume and (out / "checkpoint.pt").exists():
        raise InputError(f"expected a new run folder, got a checkpoint in {out}; add --resume or change --out")
    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    # Losses may leave a head out in some steps; DDP must not wait for its gradient.
    ddp = DistributedDataParallelKwargs(find_unused_parameters=True)
    precision = precision_of(recipe["precision"], device)
    AcceleratorState._reset_state()  # a run before this one, in this process, may have had another precision
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision=precision, kwargs_handlers=[ddp])
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe["seed"])
    with accelerator.main_process_first():  # one process builds the decoded caches, the others open them
        task = task_class(recipe, data, out)
    if workers is None:
        forks = accelerator.device.type == "cuda" and sys.platform == "linux"
        workers = min(12, max(1, (os.cpu_count() or 2) - 2)) if forks else 0
    trainer = Trainer(task, recipe, out, accelerator, minutes, workers)
    if resume:
        trainer.load()
    elif warm is not None:
        trainer.warm_start(warm)
    curves = None
    if accelerator.is_main_process:
        curves = Curves(out, trainer.step, tensorboard)
        _begin_record(trainer, name, data, warm, resume)
    trainer.fit(curves)
    accelerator.end_training()
    result: dict[str, Any] = json.loads((out / "run.json").read_text())
    return result


def _begin_record(trainer: Trainer, name: str, data: list[Path], warm: Path | None, resume: bool) -> None:
    """run.json as far as it is known before the first step."""
    path, net = trainer.out / "run.json", trainer.task.net
    before: dict[str, Any] = json.loads(path.read_text()) if resume and path.exists() else {}
    record = {
        "model": name,
        "architecture": f"{type(net).__name__} ({type(net).__module__})",
        "parameters": sum(p.numel() for p in net.parameters()),
        "trained_parameters": sum(p.numel() for p in trainer.params),
        "recipe": trainer.recipe,
        "data": source_names(data),
        "from": before.get("from", None if warm is None else warm.name),
        "torch": torch.__version__,
    }
    write_json(path, record)


def write_json(path: Path, content: Any) -> None:
    write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", path, what="record", overwrite=True)


def load_into(net: nn.Module, path: Path) -> None:
    """Fill `net` from a safetensors file; only frozen parameters may be absent. InputError when it is not its own."""
    try:
        state = {k: v.float() for k, v in load_file(path).items()}
    except Exception as error:  # safetensors raises its own class and OSError
        raise InputError(f"expected a safetensors file of weights, got {path} ({error})") from None
    own = net.state_dict()
    wrong = [k for k, v in state.items() if k not in own or own[k].shape != v.shape]
    frozen = {k for k, p in net.named_parameters() if not p.requires_grad}
    missing = [k for k in own if k not in state and k not in frozen]
    if wrong or missing:
        raise InputError(
            f"expected weights of this recipe's network in {path}, got {len(wrong)} other and {len(missing)} missing "
            f"tensors, e.g. '{(wrong + missing)[0]}'; use the recipe they were trained by"
        )
    net.load_state_dict(state, strict=False)
