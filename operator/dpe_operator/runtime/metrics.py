# SPDX-License-Identifier: Apache-2.0
"""Metrics of the operator, in a registry of their own: tests run several operators at once."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dpe_operator.planning.objects import Ref

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_WRITES = frozenset({"create", "apply", "apply_status", "update", "patch", "delete"})


class Metrics:
    """What is counted, and `render` for the HTTP answer."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = self._counter(
            "reconciles", "Reconciles by kind and result (ok, error).", "kind", "result"
        )
        self.duration = Histogram(
            "dpe_operator_reconcile_seconds",
            "How long a reconcile took.",
            ["kind"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.requests = self._counter(
            "api_requests",
            "Requests to the API server by verb, kind and HTTP status (0: no answer).",
            *("verb", "kind", "status"),
        )
        self.writes = self._counter(
            "api_writes",
            "Requests that write, by verb and kind; still while nothing changes.",
            *("verb", "kind"),
        )
        self.events = self._counter("watch_events", "Events received by kind.", "kind")
        self.queue = self._gauge("queue_depth", "Resources that wait for a worker.")
        self.conditions = self._gauge(
            "condition",
            "Conditions of our resources: 1 for the status that holds.",
            *("kind", "namespace", "name", "condition", "status"),
        )
        self.copy_age = self._gauge(
            "par_copy_age_seconds",
            "Seconds since the last good copy of the PAR files; not shown before the first.",
            *("namespace", "name"),
        )
        self.last_run = self._gauge(
            "par_last_run",
            "1 for how the last run of the PAR files' copy ended (Succeeded, Refused, Failed).",
            *("namespace", "name", "result"),
        )
        self._shown: dict[Ref, list[tuple[str, ...]]] = {}
        self._runs: dict[Ref, str] = {}

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"dpe_operator_{name}_total", about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"dpe_operator_{name}", about, labels, registry=self.registry)

    def count_request(self, verb: str, kind: str, status: int) -> None:
        """Count one request; the shape is that of `kube.rest.RequestObserver`."""
        self.requests.labels(verb, kind, str(status)).inc()
        if verb in _WRITES:
            self.writes.labels(verb, kind).inc()

    def show_conditions(self, resource: Ref, conditions: Iterable[Mapping[str, Any]]) -> None:
        """Show the conditions of a resource instead of those shown before; none: it is gone."""
        for labels in self._shown.pop(resource, []):
            self.conditions.remove(*labels)
        shown: list[tuple[str, ...]] = [
            (resource.kind, resource.namespace, resource.name, entry["type"], entry["status"])
            for entry in conditions
        ]
        for labels in shown:
            self.conditions.labels(*labels).set(1)
        if shown:
            self._shown[resource] = shown

    def show_copy(self, resource: Ref, *, result: str | None, success: datetime | None) -> None:
        """Show how the last run of a ParStore ended, and the age of its copy.

        The age is worked out when somebody asks: it grows while nothing happens.
        """
        labels = (resource.namespace, resource.name)
        before = self._runs.pop(resource, None)
        if before is not None:
            self.last_run.remove(*labels, before)
        if result is not None:
            self._runs[resource] = result
            self.last_run.labels(*labels, result).set(1)
        if success is None:
            self.copy_age.remove(*labels)
        else:
            self.copy_age.labels(*labels).set_function(partial(_age, success))

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def _age(since: datetime) -> float:
    return (datetime.now(UTC) - since).total_seconds()
