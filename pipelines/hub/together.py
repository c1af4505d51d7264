"""Several candidates in one call of a pipeline, with the bytes that each has in a call of its own.

A kernel is chosen by how many rows it gets, and another kernel rounds otherwise. So every product and mean of a shape
that was not seen before is made in both ways, whole and in the parts that calls of one candidate make, and in parts
from then on unless the bytes are the same. Whether all at once are then what each is alone is
tried for each size and number, in calls of few steps (`Together.size`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from restore.errors import ModelUnavailableError

SPARE = 0.9  # share of the free memory that candidates may take
# Functions whose sums depend on how many rows there are, and how many of their arguments have a row for each candidate.
SUMS = {
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "group_norm", "layer_norm"), 1),
    **dict.fromkeys(("rms_norm", "softmax", "mean", "sum", "var", "norm"), 1),
    **dict.fromkeys(("matmul", "bmm", "__matmul__"), 2),
    **dict.fromkeys(("baddbmm", "scaled_dot_product_attention"), 3),
}

Run = Callable[[dict[str, Any], Sequence[torch.Generator]], list[Any]]  # arguments, generators → pictures
log = logging.getLogger("restore")


class Apart(TorchFunctionMode):
    """Functions of tensors whose first axis is (groups × `count` candidates), as if each candidate were alone.

    whole: by function and shapes, whether all candidates at once give the same bytes; filled on the way.
    """

    def __init__(self, count: int, whole: dict[Any, bool]) -> None:
        super().__init__()
        self.count, self.whole = count, whole

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if not args and "query" in kwargs:  # of attention
            args = tuple(kwargs.pop(name) for name in ("query", "key", "value"))
        rows = self._rows(func, args, kwargs)
        if not rows:
            return func(*args, **kwargs)
        key = (func.__name__, *((tuple(t.shape), t.stride(), t.dtype) for t in _tensors(args, kwargs)))
        if self.whole.get(key):
            return func(*args, **kwargs)
        picture = func.__name__.startswith(("conv", "group"))  # whose channels come last after attention over a batch
        parts = [func(*(self._part(k, x, picture) if i < rows else x for i, x in enumerate(args)),
                      **{name: self._part(k, x, False) if _of(x, args[0]) else x for name, x in kwargs.items()})
                 for k in range(self.count)]  # fmt: skip
        apart = torch.empty_like(torch.cat(parts))  # in the layout of its parts
        for k, part in enumerate(parts):
            apart[k :: self.count] = part
        if key not in self.whole:
            # One row a candidate is too little to tell by, and costs nothing.
            self.whole[key] = args[0].ndim > 2 and torch.equal(func(*args, **kwargs), apart)
        return apart

    def _rows(self, func: Any, args: Any, kwargs: Any) -> int:
        """How many of the first arguments are split; 0: none, the function is called as it is."""
        rows = SUMS.get(getattr(func, "__name__", ""), 0)
        if not rows or len(args) < rows or not isinstance(args[0], torch.Tensor) or args[0].ndim < 2:
            return 0
        if args[0].shape[0] % self.count or not args[0].is_floating_point():
            return 0
        alike = all(isinstance(x, torch.Tensor) and x.shape[:1] == args[0].shape[:1] for x in args[:rows])
        reduced = func.__name__ in ("softmax", "mean", "sum", "var", "norm") and not _inside(args, kwargs)
        return rows if alike and not reduced else 0

    def _part(self, k: int, x: Any, plain: bool) -> Any:
        """Candidate k's rows, laid out as its own call would have them."""
        part = x[k : k + 1] if len(x) == self.count else x[k :: self.count].clone()
        return part.contiguous() if plain else part


def _inside(args: Any, kwargs: Any) -> bool:
    """Whether a reduction leaves the first axis as it is."""
    dims = kwargs.get("dim", args[1] if len(args) > 1 else None)
    dims = dims if isinstance(dims, (tuple, list)) else [dims]
    return all(isinstance(dim, int) and dim % args[0].ndim > 0 for dim in dims)


def _of(x: Any, first: torch.Tensor) -> bool:
    return isinstance(x, torch.Tensor) and x.ndim > 2 and x.shape[0] == first.shape[0]


def _tensors(args: Any, kwargs: Any) -> list[torch.Tensor]:
    return [x for x in (*args, *kwargs.values()) if isinstance(x, torch.Tensor)]


class Together:
    """Calls of a pipeline for several candidates. run: calls it. wanted: whether to try at all.

    most: how many fit, by what a call depends on; alike: whether that many at once are what each is alone.
    """

    def __init__(self, run: Run, device: torch.device, name: str, *, wanted: bool) -> None:
        self.run, self.device, self.name, self.wanted = run, device, name, wanted
        self.most: dict[Any, int] = {}
        self.alike: dict[tuple[Any, int], bool] = {}
        self.whole: dict[Any, bool] = {}

    def size(self, key: Any, count: int, trial: Callable[[], dict[str, Any]]) -> int:
        """How many of `count` candidates to ask for at once; 1: one by one. key: size and kind of the call; trial():
        its arguments, with few steps."""
        fit = min(count, self.most.get(key, count))
        if not self.wanted or fit < 2:
            return 1
        if (key, fit) not in self.alike:
            self.alike[key, fit] = self._tried(key, fit, trial())
            return self.size(key, count, trial)  # fewer may fit, now that it is known what one takes
        return fit if self.alike[key, fit] else 1

    def pictures(self, key: Any, given: dict[str, Any], generators: Sequence[torch.Generator]) -> list[Any] | None:
        """What `run` makes of all at once; None where it does not: out of memory, half as many are asked for next."""
        try:
            with Apart(len(generators), self.whole):
                made = self.run(several(given, len(generators)), generators)
            return made if len(made) == len(generators) else None
        except torch.OutOfMemoryError:
            self.most[key] = max(1, len(generators) // 2)
            log.warning("out of memory: %s now draws %d at a time", self.name, self.most[key])
        return None

    def _tried(self, key: Any, count: int, given: dict[str, Any]) -> bool:
        """Whether `count` candidates fit, and are together what each is alone."""
        seeds = range(1, count + 1)
        before = self._start()
        alone = self.run(given, [torch.Generator().manual_seed(seeds[0])])
        if self.device.type == "cuda":
            free = torch.cuda.mem_get_info(self.device)[0]
            free += torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
            self.most[key] = max(1, int(SPARE * free / max(1.0, self._peak() - before)))
            if self.most[key] < count:
                return False
        alone += [made for seed in seeds[1:] for made in self.run(given, [torch.Generator().manual_seed(seed)])]
        try:
            at_once = self.pictures(key, given, [torch.Generator().manual_seed(seed) for seed in seeds])
        except ModelUnavailableError as error:
            log.info("%s draws one candidate at a time: %s", self.name, error)
            self.most[key] = 1
            return False
        if at_once is not None and all(map(_same, alone, at_once)):
            return True
        if self.most.get(key, count) >= count:  # not for want of memory
            log.info("%s draws one candidate at a time: %d at once are not what each is alone", self.name, count)
            self.most[key] = 1
        return False

    def _start(self) -> float:
        if self.device.type != "cuda":
            return 0.0
        torch.cuda.reset_peak_memory_stats(self.device)
        return float(torch.cuda.memory_allocated(self.device))

    def _peak(self) -> float:
        return float(torch.cuda.max_memory_allocated(self.device)) if self.device.type == "cuda" else 0.0


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and np.array_equal(one, other)


def several(given: dict[str, Any], count: int) -> dict[str, Any]:
    """Arguments of one candidate's call as lists for `count` of them: pictures and words, one each."""
    out = dict(given)
    for name in ("image", "images", "mask_image", "mask", "control_mask", "prompt", "negative_prompt"):
        if name in given:
            out[name] = [given[name]] * count
    if isinstance(given.get("control_image"), torch.Tensor):
        out["control_image"] = given["control_image"].repeat(count, 1, 1, 1)
    return out
