"""What a run leaves to look at: losses.csv, curves.png where matplotlib is installed, TensorBoard when asked."""

from __future__ import annotations

import csv
import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from restore.errors import InputError
from restore.images.files import replacing, write_text

HEADER = ("step", "minutes", "samples", "name", "value")


class Curves:
    """Appends to OUT/losses.csv (columns HEADER) and draws it."""

    def __init__(self, out: Path, step: int = 0, tensorboard: bool = False) -> None:
        """Rows beyond `step` are dropped: a resumed run writes them again. Raises InputError without TensorBoard."""
        self.path, self.picture = out / "losses.csv", out / "curves.png"
        kept = [row for row in read_rows(self.path) if int(row[0]) <= step]
        self._replace(kept)
        self.written = {(step, row[3]) for row in kept if int(row[0]) == step}
        self.can_draw = find_spec("matplotlib") is not None
        if not self.can_draw:
            click.echo("restore: no curves.png without matplotlib; pip install 'restore[train]'", err=True)
        self.writer: Any = None
        if tensorboard:
            if find_spec("tensorboard") is None:
                raise InputError("expected TensorBoard for --tensorboard, got none; pip install 'restore[train]'")
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, minutes: float, samples: int, values: dict[str, float]) -> None:
        values = {name: value for name, value in values.items() if (step, name) not in self.written}
        with open(self.path, "a", newline="") as file:
            csv.writer(file).writerows(
                (step, round(minutes, 3), samples, name, f"{value:.6g}") for name, value in values.items()
            )
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)

    def draw(self) -> None:
        """One panel per quantity against samples seen; a held-out one shares the panel of its training loss."""
        rows = read_rows(self.path)
        if not self.can_draw or not rows:
            return
        from matplotlib.figure import Figure

        panels: dict[str, dict[str, list[tuple[int, float]]]] = {}
        for _, _, samples, name, value in rows:
            panel = panels.setdefault(name.removeprefix("eval_"), {})
            panel.setdefault(name, []).append((int(samples), float(value)))
        figure = Figure(figsize=(4 * len(panels), 3), layout="constrained")
        for axes, (title, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
            for name, points in lines.items():
                axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else "", label=name)
            axes.set(title=title, xlabel="samples")
            axes.legend()
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=100)
        with replacing(self.picture, what="picture", overwrite=True) as file:
            file.write(drawn.getbuffer())

    def _replace(self, rows: list[list[str]]) -> None:
        text = io.StringIO()
        csv.writer(text).writerows([HEADER, *rows])
        write_text(text.getvalue(), self.path, what="table", overwrite=True)


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a losses.csv below its header; none when there is no file."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.reader(file))[1:]
