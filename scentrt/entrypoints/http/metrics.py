"""What the server counts, and what it knows when it is asked, in the format of Prometheus."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scentrt.domain.commands import Allocate, Command
from scentrt.errors import ScentError, StockError
from scentrt.service_layer.messagebus import Owner

__all__ = ["CONTENT_TYPE_LATEST", "CountedOwner", "CountedRequests", "Metrics", "Reading"]

R = TypeVar("R")

_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""A client may invent more, and each would be kept for ever."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(frozen=True, slots=True)
class Reading:
    """Something that the server knows, by its name without `scentrt_`.

    `read` is called whenever somebody looks, and must not wait; it returns a number, or one for
    each value of `label`. `counts` says that it only goes up, and its name gets `_total`.
    """

    name: str
    about: str
    read: Callable[[], float | Mapping[str, float]]
    label: str | None = None
    counts: bool = False

    def metric(self) -> Metric:
        """Read it."""
        family = CounterMetricFamily if self.counts else GaugeMetricFamily
        labels = () if self.label is None else (self.label,)
        metric = family(f"scentrt_{self.name}", self.about, labels=labels)
        found = self.read()
        for label, value in found.items() if isinstance(found, Mapping) else [("", found)]:
            metric.add_metric([label] * len(labels), value)
        return metric


class Metrics:
    """A registry of one server's own: `readings`, and what its HTTP edge counts."""

    def __init__(self, readings: Iterable[Reading] = ()) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Readings(tuple(readings)))
        self.requests = Counter(
            "scentrt_http_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "scentrt_http_request_seconds",
            "From a whole request to the beginning of its answer.",
            ("method",),  # and not the route: whoever looks would hold the cues up for longer
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.commands = Counter(
            "scentrt_commands",
            "Commands to the stock by what became of them.",
            ("command", "outcome"),
            registry=self._registry,
        )

    def count_refusal(self, status: int) -> None:
        """Count what was answered before anybody knew what it is about: it was no whole request."""
        self.requests.labels("unknown", "other", status).inc()

    def render(self) -> bytes:
        """Return all of it as text."""
        return generate_latest(self._registry)


class _Readings(Collector):
    def __init__(self, readings: tuple[Reading, ...]) -> None:
        self._readings = readings

    def describe(self) -> Iterator[Metric]:
        """Say nothing, or the registry would read them to learn their names."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Read all of them."""
        return (reading.metric() for reading in self._readings)


class CountedRequests:
    """Count requests and how long they take, by the route and not by the path."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it when it has been answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path_format", "unknown")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._metrics.requests.labels(route, method, message["status"]).inc()
                self._metrics.seconds.labels(method).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, count)


class CountedOwner:
    """Count the commands that `owner` is given."""

    def __init__(self, owner: Owner, metrics: Metrics) -> None:
        self._owner = owner
        self._counter = cache(metrics.commands.labels)  # which takes its time to find one

    async def handle(self, command: Command[R]) -> R:
        """Have a command carried out; returns and raises what its owner does."""
        outcome = "failed"
        try:
            answer = await self._owner.handle(command)
            out_of_stock = isinstance(command, Allocate) and answer is None
            outcome = "out-of-stock" if out_of_stock else "done"
            return answer
        except StockError:
            outcome = "refused"
            raise
        except ScentError:
            outcome = "unavailable"
            raise
        finally:
            self._counter(type(command).__name__, outcome).inc()
