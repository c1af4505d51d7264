"""How a restoration is sampled, whatever is undone: plain settings. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, replace

from restore.errors import InputError

METHODS = ("direct", "half-quadratic", "gdp", "gdp-xt")
LEAST_NOISE = 0.005  # σ, [-1, 1]: below this the prior was not trained


@dataclass(frozen=True)
class Sampling:
    """How to run a plan. "direct": one look of the network that was told the damage, where it knows it, and
    half-quadratic splitting elsewhere and where a setting of sampling is given. best: eight looks, their mean.

    steps None: the plan's. start: the noise level to begin at, None: the measurement's own.
    strength: weight of the measurement, 1 = derived. temperature: 0 no noise (one best answer), 1 a sample;
    None: 1 for gdp, else 0. respaced: DDPM's spacing instead of equal ratios.
    """

    method: str = "direct"
    best: bool = False
    steps: int | None = None
    strength: float = 1.0
    guidance_steps: int = 1
    start: float | None = None
    temperature: float | None = None
    respaced: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"expected a method out of {', '.join(METHODS)}, got '{self.method}'")
        for name in ("steps", "guidance_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"expected {name} of at least 1, got {value}")
        if not self.strength > 0:
            raise InputError(f"expected a guidance strength above 0, got {self.strength:g}")
        if self.start is not None and not LEAST_NOISE <= self.start <= 200:
            raise InputError(f"expected a start level from {LEAST_NOISE} to 200, got {self.start:g}")
        if self.temperature is not None and not 0 <= self.temperature <= 1:
            raise InputError(f"expected a temperature from 0 to 1, got {self.temperature:g}")

    @property
    def looks(self) -> int:
        """Of the restorer, where one is enough; 0: the picture is sampled."""
        sampled = replace(self, best=False) != Sampling()
        return 0 if sampled else 8 if self.best else 1
