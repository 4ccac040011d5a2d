"""Figures of the sidecar for Prometheus: counts and times, never words, ids or paths of a request."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from clario import __version__

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_TEXTS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What one app counts, in a registry of its own."""

    def __init__(self, model: str, release: str) -> None:
        self.registry = own = CollectorRegistry()
        self.requests = Counter(
            "clario_requests", "Answers, by the route's template.", ("method", "route", "status"), registry=own
        )
        self.seconds = Histogram(
            "clario_request_seconds", "Until the last byte.", ("route",), registry=own, buckets=_SECONDS
        )
        self.open = Gauge("clario_requests_open", "Requests under way.", registry=own)
        self.texts = Counter("clario_texts", "Texts: read, failed, or dropped unread.", ("outcome",), registry=own)
        self.waiting = Gauge("clario_texts_waiting", "Texts that wait for the model.", registry=own)
        self.batches = Histogram("clario_batch_texts", "Texts read together.", registry=own, buckets=_TEXTS)
        self.reading = Histogram("clario_batch_seconds", "A batch in the model.", registry=own, buckets=_SECONDS)
        for outcome in ("read", "failed", "dropped"):
            self.texts.labels(outcome)
        about = {"version": __version__, "model": model, "hpo_release": release}
        Info("clario_build", "What answers.", registry=own).info(about)

    def exposition(self) -> bytes:
        """The figures as Prometheus reads them."""
        return generate_latest(self.registry)
