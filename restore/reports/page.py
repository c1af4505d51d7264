"""How all pages are rendered: templates/base.html is their frame, and whatever they say is escaped."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from restore.quality.catalogue import better_of, measure_of

if TYPE_CHECKING:
    from jinja2 import Environment


def rendered(template: str, **values: Any) -> str:
    """A page as HTML text from `templates/NAME`. It refers to nothing outside itself; a missing value is an error."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # only where a page is written

    found = Environment(
        loader=PackageLoader("restore.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.policies["json.dumps_kwargs"] = {}  # keys stay in their order
    found.filters |= {"number": number, "percent": percent}
    found.filters |= {"measure": measure_of, "better": better_of, "titled": titled}
    return found


def titled(key: str) -> str:
    """What a measure is called, or a figure that is none."""
    try:
        return measure_of(key).title
    except KeyError:
        return key.replace("_", " ").capitalize()


def number(value: float | None) -> str:
    """Three digits, for people."""
    if value is None:
        return "–"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def percent(share: float) -> str:
    """Three digits; unlike a fixed number of places, this never shows 5.04 % as within a limit of 5 %."""
    return "under 0.001\u00a0%" if 0 < share < 1e-5 else f"{100 * share:.3g}\u00a0%"
