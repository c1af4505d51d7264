"""What `/metrics` tells, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.05, 0.25, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "restore_requests",
            "Answers by path, method and status.",
            ("path", "method", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "restore_request_seconds", "From request to answer.", ("path",), buckets=SECONDS, registry=self.registry
        )

    def watch(self, name: str, help: str, value: Callable[[], float]) -> None:
        """A number that is looked up when it is asked for."""
        Gauge(f"restore_{name}", help, registry=self.registry).set_function(value)

    def count(self, scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
        """Paths are those of the routes, so that callers cannot make new ones."""
        path = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE") else "other"
        self.requests.labels(path, method, str(status)).inc()
        self.seconds.labels(path).observe(seconds)

    @property
    def text(self) -> bytes:
        return generate_latest(self.registry)
