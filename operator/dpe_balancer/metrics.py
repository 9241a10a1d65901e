# SPDX-License-Identifier: Apache-2.0
"""The agent's own figures for Prometheus, and its word for the other balancer; HAProxy serves its
own figures itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dpe_balancer.model import MemberState, Switch

# Where a balancer that clients are sent to tells the other one what it decided; and what the other
# one adds to its question if it sees a member up itself.
WORD_PATH = "/choice"
SEES_UP = "sees=up"


@dataclass(frozen=True)
class Figures:
    """One state of the agent. `since`: seconds since 1970; `last_gap`: in seconds; None for either:
    it cannot be told."""

    active: str | None = None
    since: float | None = None
    last_gap: float | None = None
    last_switch: Switch | None = None
    outages: int = 0
    outage: bool = False
    flapping: bool = False
    states: tuple[tuple[str, MemberState], ...] = field(default=())
    holder: bool = False
    routed: bool = False
    ready: bool = False
    full: bool = False
    peer_silent: bool = False
    blind: bool = False
    switch_count: int = 0
    haproxy_restarts: int = 0
    record_writes: int = 0
    record_failures: int = 0
    certificate_renewals: int = 0
    certificate_failures: int = 0


def render(figures: Figures) -> str:
    """The text form that Prometheus reads."""
    lines: list[str] = []

    def put(name: str, kind: str, text: str, *samples: tuple[str, float]) -> None:
        lines.append(f"# HELP dpe_balancer_{name} {text}")
        lines.append(f"# TYPE dpe_balancer_{name} {kind}")
        lines.extend(f"dpe_balancer_{name}{labels} {value:.15g}" for labels, value in samples)

    members = figures.states
    up = [(f'{{member="{name}"}}', float(state == "UP")) for name, state in members]
    active = [(f'{{member="{name}"}}', float(name == figures.active)) for name, _ in members]
    put("member_up", "gauge", "1 while this balancer sees the member healthy.", *up)
    put("member_active", "gauge", "1 for the member that gets the requests.", *active)
    put("holder", "gauge", "1 while this pod holds the Lease.", ("", figures.holder))
    put("routed", "gauge", "1 while clients are routed to this pod.", ("", figures.routed))
    put("outage", "gauge", "1 while both members are down together.", ("", figures.outage))
    put("flapping", "gauge", "1 while members change too often.", ("", figures.flapping))
    if figures.since is not None:
        text = "Since when the active member is that, in seconds since 1970."
        put("active_since_timestamp_seconds", "gauge", text, ("", figures.since))
    if figures.last_gap is not None:
        text = "How long clients had no answer at the last switch, as HAProxy saw it."
        put("last_gap_seconds", "gauge", text, ("", figures.last_gap))
    if figures.last_switch is not None:
        last = figures.last_switch
        labels = f'{{from="{last.source}",to="{last.target}",cause="{last.cause}"}}'
        put("last_switch_info", "gauge", "The last change, and why.", (labels, 1))
    put("ready", "gauge", "1 while this balancer could take clients.", ("", figures.ready))
    text = "1 while HAProxy has as many clients as it takes, and 10 s more."
    put("full", "gauge", text, ("", figures.full))
    text = "1 while the routed balancer does not answer this one's questions."
    put("peer_silent", "gauge", text, ("", figures.peer_silent))
    text = "1 while this balancer reaches no member, and the other one does."
    put("blind", "gauge", text, ("", figures.blind))
    for name, text, value in (
        ("switches_total", "Changes of the active member, as recorded.", figures.switch_count),
        ("outages_total", "Times that both members went down together.", figures.outages),
        ("haproxy_restarts_total", "Starts of HAProxy after it ended.", figures.haproxy_restarts),
        ("record_writes_total", "Writes of the EndpointSlice.", figures.record_writes),
        ("record_failures_total", "Failed calls for the record.", figures.record_failures),
        ("certificate_renewals_total", "Certificates renewed.", figures.certificate_renewals),
        ("certificate_failures_total", "Renewals refused.", figures.certificate_failures),
    ):
        put(name, "counter", text, ("", value))
    return "\n".join(lines) + "\n"


def serve(
    address: str, port: int, figures: Callable[[], Figures], word: Callable[[bool], str]
) -> ThreadingHTTPServer:
    """Serve `/metrics` and, while `word` is not empty, `/choice` from a thread of its own.

    `word` is told whether who asks sees a member up. Raises OSError when the port is taken.
    """
    pages: dict[str, tuple[str, Callable[[bool], str]]] = {
        "/metrics": ("text/plain; version=0.0.4", lambda _: render(figures())),
        WORD_PATH: ("application/json", word),
    }

    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            """Answer with one of the pages; 404 without one, or if it has nothing to say."""
            path, _, query = self.path.partition("?")
            kind, text = pages.get(path, ("text/plain", lambda _: ""))
            body = text(query == SEES_UP).encode()
            with contextlib.suppress(ConnectionError):  # who asked has gone
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a scrape is no news."""

    server = ThreadingHTTPServer((address, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
