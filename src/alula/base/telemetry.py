"""What a server counts of itself, as Prometheus reads it. Nothing of it is sent anywhere."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)


class Telemetry:
    """The counts of one server."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._calls = Histogram(
            "alula_rpc_seconds",
            "Calls that have ended, by what they took; of a stream, from its first message to its end.",
            ["method", "code"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._moves = Counter(
            "alula_action_changes", "Changes of actions that were seen, by the phase then.", ["phase"],
            registry=self._registry,
        )  # fmt: skip

    def called(self, method: str, code: str, seconds: float) -> None:
        """A call has ended."""
        self._calls.labels(method, code).observe(seconds)

    def moved(self, phase: str) -> None:
        """An action was seen in a phase."""
        self._moves.labels(phase).inc()

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Have a number asked for whenever somebody reads."""
        Gauge(name, meaning, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """Everything, as it is now."""
        return generate_latest(self._registry)
