"""What the Manager counts of itself, as Prometheus reads it. Nothing of it is sent anywhere."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from alula.core.taskaction import Stage

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)


class Metrics:
    """The counts of one Manager."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._turns = Histogram(
            "alula_manager_reconcile_seconds", "Turns of attempts, by what they took.",
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._calls = Histogram(
            "alula_manager_kube_seconds",
            "Calls of the cluster's API that have ended, by what they took; of a watch, all of it.",
            ["verb", "kind", "code"],
            buckets=_SECONDS,
            registry=self._registry,
        )

    def took(self, seconds: float) -> None:
        """A turn has ended."""
        self._turns.observe(seconds)

    def called(self, verb: str, kind: str, code: str, seconds: float) -> None:
        """A call of the cluster's API has ended."""
        self._calls.labels(verb, kind, code).observe(seconds)

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Have a number asked for whenever somebody reads."""
        Gauge(f"alula_manager_{name}", meaning, registry=self._registry).set_function(value)

    def watch_stages(self, counts: Callable[[], Mapping[Stage, int]]) -> None:
        """Have it asked for how many attempts there are at each stage."""
        self._registry.register(_Stages(counts))

    def text(self) -> bytes:
        """Everything, as it is now."""
        return generate_latest(self._registry)


class _Stages(Collector):
    def __init__(self, counts: Callable[[], Mapping[Stage, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        found = GaugeMetricFamily("alula_manager_attempts", "Attempts that there are.", labels=["stage"])
        for stage, number in self._counts().items():
            found.add_metric([stage.value], number)
        yield found
