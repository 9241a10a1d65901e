# SPDX-License-Identifier: Apache-2.0
"""The options of all subcommands, each with its environment variable and default."""

import argparse
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dpe_operator.prober.durations import parse_duration
from dpe_simulator.identity import component_name


def _time(text: str) -> float:
    try:
        return parse_duration(text, field="time")
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from problem


@dataclass(frozen=True)
class Option:
    """An option of a subcommand; `env` is the environment variable that gives its default."""

    flag: str
    help: str
    default: str | None = None
    env: str | None = None
    kind: Callable[[str], Any] = str
    more: Mapping[str, Any] = field(default_factory=dict)

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Make the argparse option."""
        default = os.environ.get(self.env or "") or self.default
        known = [self.env] if self.env else []
        shown = (self.default or "").replace("%", "%%")  # argparse fills in what follows a %
        known += [f"default {shown}"] if shown else []
        text = f"{self.help} ({', '.join(known)})" if known else self.help
        more = {"type": self.kind, "default": default, **self.more}
        if more.get("action"):
            more = {"default": None, **self.more}
        parser.add_argument(*self.flag.split(), help=text, **more)


_O = Option
_MANY: Mapping[str, Any] = {"action": "append"}
_FLAG: Mapping[str, Any] = {"action": "store_true"}
_FILE: Mapping[str, Any] = {"metavar": "FILE"}
_JSON = _O(
    "--json", "write the result as JSON; -: to standard output, without the table", more=_FILE
)
_DSN = _O(
    "--dsn", "core database; empty: as PGHOST, PGUSER, ... say", env="DPE_CORE_DSN", default=""
)
_TARGET = (
    _O("--url --service-root", "base URL", env="DPE_SERVICE_ROOT"),
    _O("--ca", "PEM file of the authority to trust", env="DPE_CA_FILE"),
    _O("--insecure", "accept any certificate", more=_FLAG),
)
SERVER = (
    _O("--member", "name of this member", env="DPE_MEMBER", default=socket.gethostname()),
    _O("--host", "address to listen on", "0.0.0.0"),
    _O("--port", "port; 0: any free one", "8443", "DPE_PORT", int),
    _O("--base-path", "path before all others", "/DpeWebApplication", "DPE_BASE_PATH"),
    _O("--cert", "PEM certificate; without it: plain HTTP", env="DPE_TLS_CERT"),
    _O("--key", "PEM key", env="DPE_TLS_KEY"),
    _DSN,
    _O("--connections", "connections to the core database, beside two others", "4", kind=int),
    _O("--health-bound", "the core database must answer a check within", "600ms", kind=_time),
    _O("--lease", "a silent processor loses its job after", "30s", "DPE_JOB_LEASE", _time),
    _O("--drain", "go on serving this long after SIGTERM", "0s", "DPE_DRAIN", _time),
    _O("--grace", "requests in flight may take this long after that", "20s", kind=_time),
    _O("--ledger-hours", "older lines of the ledger are deleted", "48", kind=float),
)
PROCESSOR = (
    *_TARGET,
    _O("--type", "job type", "audio", "DPE_PROCESSOR_TYPE"),
    _O("--quota", "jobs at a time", "2", "DPE_PROCESSOR_QUOTA", int),
    _O("--poll", "poll this often when no notification comes", "5s", kind=_time),
    _O("--grace", "time to finish jobs after SIGTERM", "25s", "DPE_PROCESSOR_GRACE", _time),
)
CLIENT = (
    *_TARGET,
    _O("--connections", "connections that are kept, the slow ones included", "10", kind=int),
    _O("--slow", "how many of them send slow requests and read slowly", "1", kind=int),
    _O("--rate", "requests a second over the kept connections", "200", kind=float),
    _O("--fresh", "also open new connections, 20 or N a second", "0", kind=float,
       more={"nargs": "?", "const": 20.0, "metavar": "N"}),
    _O("--seconds", "length of the run", "30s", kind=_time),
    _O("--path", "path behind the base path", "/ping"),
    _O("--no-retry", "one attempt only", more=_FLAG),
    _O("--progress", "a line each second", more=_FLAG),
    _JSON,
    _O("--records", "write a JSON line a request or workflow, for `check`", more=_FILE),
    _O("--workflows", "instead of load: submit N workflows and verify them", kind=int,
       more={"metavar": "N"}),
    _O("--every", "from one workflow to the next; 0s: as fast as they are taken", "0s", kind=_time),
    _O("--activities", "activities in a workflow, for workers", "0", kind=int),
    _O("--jobs", "jobs in a workflow", "2", kind=int),
    _O("--job-type", "type of the jobs, several are used in turn; without it: audio", more=_MANY),
    _O("--job-seconds", "how long a job takes", "200ms", kind=_time),
    _O("--timeout", "all workflows must have ended within", "120s", kind=_time),
)  # fmt: skip
CERTS = (
    _O("--out", "folder for ca.crt, ca.key, tls.crt, tls.key; an authority there is used again",
       more={"required": True, "metavar": "FOLDER"}),
    _O("--dns", "a DNS name of the server, may be repeated", more=_MANY),
    _O("--ip", "an IP address of the server, may be repeated", more=_MANY),
    _O("--days", "how long the server certificate is valid", "365", kind=int),
    _O("--secret-yaml", "print a Secret for kubectl apply -f -", more={"metavar": "NAME"}),
    _O("--namespace", "its namespace"),
)  # fmt: skip
_CONTENT = (
    _O("--content-dsn", "content database; empty: as PGHOST, PGUSER, ... say",
       env="DPE_CONTENT_DSN", default=""),
)  # fmt: skip
_COMPONENT = (
    *_TARGET,
    _O("--name", "name of the component, for the ledger", env="DPE_COMPONENT",
       default=component_name(socket.gethostname())),
    _O("--member", "which member of a Concurrent component", env="DPE_WORKFLOW_MEMBER"),
    _O("--heartbeat", "prove this often that this process acts", "500ms", "DPE_HEARTBEAT", _time),
    _O("--records", "write the lines for the ledger also to this file; -: standard output",
       env="DPE_RECORDS", more=_FILE),
)  # fmt: skip
_WORKFLOW = (
    _O("--type", "type of the workflows it starts", env="DPE_WORKFLOW_TYPE"),
    _O("--activities", "their activities, for workers", "1", "DPE_WORKFLOW_ACTIVITIES", int),
    _O("--activity-seconds", "how long an activity takes", "200ms", "DPE_WORKFLOW_ACTIVITY", _time),
    _O("--job-type", "type of a job that follows, may be repeated", more=_MANY),
    _O("--job-seconds", "how long a job takes", "200ms", kind=_time),
)
WORKER = (
    *_COMPONENT,
    _O("--quota", "activities at a time", "2", "DPE_WORKER_QUOTA", int),
    _O("--poll", "poll this often when no notification comes", "5s", kind=_time),
    _O("--grace", "time to finish activities after SIGTERM", "3s", "DPE_WORKER_GRACE", _time),
)
SCHEDULER = (
    *_COMPONENT,
    *_WORKFLOW,
    _O("--schedule", "five fields of cron, such as '0 2 * * *'", env="DPE_SCHEDULE"),
    _O("--time-zone", "zone of the schedule", "UTC", "DPE_TIME_ZONE"),
    _O("--title", "title of its workflows; %%name%% and %%trigger%% (a time) are filled in",
       "%name% %trigger%", "DPE_TITLE_TEMPLATE"),
    _O("--clock-start", "test clock: a time it shows at the anchor, such as 2026-03-29T01:59:30",
       env="DPE_CLOCK_START"),
    _O("--clock-offset", "test clock: how far ahead of the real one, such as 90m or -90m",
       env="DPE_CLOCK_OFFSET"),
    _O("--clock-anchor", "the real moment meant, in seconds since 1970, the same for all members;"
       " without it: the start of the process", env="DPE_CLOCK_ANCHOR", kind=float),
    _O("--clock-rate", "seconds of the test clock in a real one", "1", "DPE_CLOCK_RATE", float),
)  # fmt: skip
_WATCHER = (
    *_COMPONENT,
    *_WORKFLOW,
    _O("--interval", "time between two looks", "1s", "DPE_WATCH_INTERVAL", _time),
    _O("--memory", "folder of the memory file; without it: nothing is kept", env="DPE_MEMORY_PATH",
       more={"metavar": "FOLDER"}),
    _O("--memory-first", "write the memory before the workflow is started, not after it (also"
       " DPE_MEMORY_FIRST=1)", more=_FLAG),
    _O("--memory-in-place", "write over the memory file, so that a crash can tear it (also"
       " DPE_MEMORY_IN_PLACE=1)", more=_FLAG),
    _O("--gap", "pause between workflow and memory, to hit it with a fault", "0s",
       "DPE_MEMORY_GAP", _time),
    _O("--first-start", "without a memory: trigger (all there is counts as created) or remember",
       "trigger", "DPE_FIRST_START", more={"choices": ("trigger", "remember")}),
)  # fmt: skip
_TABLE = _O("--table", "table of the entries, made if it is missing", "dpe_entries", "DPE_TABLE")
_FOLDER = _O("--folder", "folder to watch", env="DPE_WATCH_FOLDER")
TABLE_WATCHER = (
    *_WATCHER,
    *_CONTENT,
    _TABLE,
    _O("--table-id", "what %%tableid%% stands for", "1", "DPE_TABLE_ID"),
    _O("--table-alias", "what %%tablealias%% stands for", "entries", "DPE_TABLE_ALIAS"),
    _O("--title", "title of its workflows", "%tableid%-%entryid%-%event%", "DPE_TITLE_TEMPLATE"),
)
FOLDER_WATCHER = (
    *_WATCHER,
    _FOLDER,
    _O("--filter", "patterns of file names, with | between", "*", "DPE_WATCH_FILTER"),
    _O("--title", "title of its workflows", "%filename%-%event%", "DPE_TITLE_TEMPLATE"),
)
_AMOUNTS = (
    _O("--add", "how many to add", "0", kind=int),
    _O("--update", "how many of those that are there to change, the oldest first", "0", kind=int),
    _O("--delete", "how many to delete, the next oldest", "0", kind=int),
    _O("--rounds", "do this so often", "1", kind=int),
    _O("--every", "time between two rounds", "1s", kind=_time),
    _JSON,
)
ENTRIES = (*_CONTENT, _TABLE, *_AMOUNTS)
FILES = (
    _O("--content-dsn", "database with the list of changes for `check`; without it none is kept",
       env="DPE_CONTENT_DSN"),
    _FOLDER,
    _O("--suffix", "how the names end", ".wav"),
    *_AMOUNTS,
)  # fmt: skip
CHECK = (
    _DSN,
    _O("--since", "start of the run in seconds since 1970", "0", kind=float),
    _O("--switches", "how often the active member was meant to change", kind=int),
    _O("--settle", "a job that is open for longer is lost", "60s", kind=_time),
    _O("--clock-tolerance", "how far the machines' clocks may differ", "0s", kind=_time),
    _O("--until", "end of the run in seconds since 1970; without it: now", kind=float),
    _O(
        "--content-dsn",
        "content database; without it changes are not judged",
        env="DPE_CONTENT_DSN",
    ),
    _O(
        "--component",
        "judge only this component of the workflow system, may be repeated",
        more=_MANY,
    ),
    _O("--client-records", "what `client --records` wrote, may be repeated", more=_MANY),
    _O(
        "--component-records",
        "what a component's --records wrote (its log), may be repeated",
        more=_MANY,
    ),
    _JSON,
)
