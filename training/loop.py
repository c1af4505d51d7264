"""What every recipe shares: moving average of weights, checkpoints, a CSV of the losses, a time budget."""

from __future__ import annotations

import argparse
import copy
import csv
import os
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn


def parse_args(doc: str | None) -> argparse.Namespace:
    """`--config recipe.yaml --data SOURCE… --out DIR [--minutes M] [--resume] [--threads N]`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="a YAML file of training/recipes")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders or tar shards")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints, weights and losses")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this long (default: all steps)")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.recipe = yaml.safe_load(args.config.read_text())
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


class Trainer:
    """Steps an optimiser with warm-up and linear decay to zero, keeps an EMA, saves every few minutes.

    The decay follows whichever ends first, `steps` or the time budget, so that a run cut to an hour
    still ends with a small learning rate.
    """

    def __init__(self, model: nn.Module, params: Any, recipe: dict[str, Any], args: argparse.Namespace) -> None:
        self.model, self.recipe, self.out = model, recipe, args.out
        self.ema = copy.deepcopy(model).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            params, lr=recipe["lr"], betas=(0.9, 0.99), weight_decay=recipe.get("weight_decay", 0.01)
        )
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.step, self.budget, self.begun, self.saved = 0, args.minutes * 60, time.time(), time.time()
        self.losses: dict[str, list[float]] = {}
        if args.resume and (self.out / "checkpoint.pt").exists():
            self._load()

    def _load(self) -> None:
        state = torch.load(self.out / "checkpoint.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        return min(1.0, max(self.step / self.recipe["steps"], (time.time() - self.begun) / self.budget))

    def update(self, loss: Tensor) -> None:
        """One optimiser step on `loss`."""
        decay = min(1.0, (1 - self.progress) / self.recipe.get("decay", 0.35))
        factor = max(0.01, decay) * min(1.0, (self.step + 1) / 200)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        keep = min(self.recipe.get("ema", 0.999), (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for mine, theirs in zip(self.ema.parameters(), self.model.parameters(), strict=True):
                mine.lerp_(theirs, 1 - keep)
            for kept, current in zip(self.ema.buffers(), self.model.buffers(), strict=True):
                kept.copy_(current)
        if self.step % self.recipe.get("report", 100) == 0:
            self._report()
        if time.time() - self.saved > 300:
            self.save()

    def log(self, **values: float) -> None:
        """Remember loss terms; their means are written every 100 steps."""
        for name, value in values.items():
            self.losses.setdefault(name, []).append(float(value))

    def _report(self) -> None:
        row = {name: sum(v) / len(v) for name, v in sorted(self.losses.items())}
        minutes = (time.time() - self.begun) / 60
        print(self.step, f"{minutes:.1f} min", {k: round(v, 4) for k, v in row.items()}, flush=True)
        with open(self.out / "losses.csv", "a", newline="") as file:
            csv.writer(file).writerows([self.step, round(minutes, 2), name, value] for name, value in row.items())
        self.losses.clear()

    def save(self) -> None:
        """Write the exact-resume checkpoint and the averaged weights (fp16 safetensors)."""
        state: dict[str, Any] = {"model": self.model.state_dict(), "ema": self.ema.state_dict()}
        state |= {"optimiser": self.optimiser.state_dict(), "step": self.step}
        torch.save(state, self.out / "checkpoint.tmp")
        os.replace(self.out / "checkpoint.tmp", self.out / "checkpoint.pt")
        weights = {k: v.half().contiguous() for k, v in self.ema.state_dict().items()}
        save_file(weights, self.out / "weights.tmp")
        os.replace(self.out / "weights.tmp", self.out / "weights.safetensors")
        self.saved = time.time()
