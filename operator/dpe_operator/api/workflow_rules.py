# SPDX-License-Identifier: Apache-2.0
"""CEL rules of the workflow kinds: what the API server refuses, and the sentence it says.

Every rule has a refused sample and its cure in `tests/support/bad_input_workflow.py`, tried on a
real API server. What needs arithmetic of times or other objects is refused by the operator.
"""

from __future__ import annotations

from typing import Final

from dpe_operator.api import server_rules
from dpe_operator.api.common import Rule
from dpe_operator.api.constants import (
    DEFAULT_SERVICE_ROOT_ENV,
    ENV_MEMBER,
    ENV_MEMORY_PATH,
    ENV_SCHEDULE,
    ENV_TIME_ZONE,
    ENV_TITLE_TEMPLATE,
    MAX_WORKFLOW_NAME,
)

# Five fields of what cron knows; whether they make sense is worked out by the operator.
CRON_PATTERN: Final = r"^[-0-9*/,A-Za-z#?]+( [-0-9*/,A-Za-z#?]+){4}$"

_STANDBY: Final = "self.mode == 'Standby'"
_DECLARED: Final = (
    ENV_SCHEDULE, ENV_TIME_ZONE, ENV_TITLE_TEMPLATE, ENV_MEMORY_PATH, ENV_MEMBER,
)  # fmt: skip
_IS_DECLARED: Final = f"e.name in [{', '.join(repr(name) for name in _DECLARED)}]"
# The elector and the memory program read these before the command is started: another API server
# would be sent the token of this one.
_API_ACCESS: Final = "['DPE_API_SERVER', 'DPE_API_TOKEN_FILE', 'DPE_API_CA_FILE']"
_IS_OWN: Final = (
    "(e.name.startsWith('DPE_ELECTOR_') || e.name.startsWith('DPE_MEMORY_POD_')"
    f" || ({_STANDBY} && e.name in {_API_ACCESS}))"
)
_OWN_VOLUME: Final = "(v.name.startsWith('dpe-elector') || v.name.startsWith('dpe-memory'))"
# The Lease is given back in the last 3 seconds, and a program wants some to end in.
_SHORTEST_GRACE: Final = 10

TEMPLATE: Final = (
    Rule(
        f"!({_STANDBY}) || (has(self.command) && self.command.size() > 0)",
        "mode is Standby and there is no command, so nobody knows what to start in the pod that "
        "acts: write command, which is what the image starts by itself otherwise, or mode: "
        "Concurrent",
        field=".command",
    ),
    Rule(
        f"!({_STANDBY}) || self.os != 'windows'",
        "mode is Standby and os is windows, where the elector that lets one act at a time does "
        "not run yet: write mode: Concurrent",
        field=".os",
    ),
    Rule(
        f"{_STANDBY} || !has(self.timings)",
        "mode is Concurrent, so nobody takes over from anybody and timings are not used: remove "
        "timings, or write mode: Standby",
        field=".timings",
    ),
    Rule(
        f"{_STANDBY} || !has(self.probePort)",
        "mode is Concurrent, so no elector runs that would use probePort %s: remove probePort, or "
        "write mode: Standby",
        values=("self.probePort",),
        field=".probePort",
    ),
    Rule(
        f"!({_STANDBY}) || !has(self.terminationGracePeriodSeconds)"
        f" || self.terminationGracePeriodSeconds >= {_SHORTEST_GRACE}",
        "terminationGracePeriodSeconds is %s, and in Standby mode the last 3 are needed to hand "
        f"over: write {_SHORTEST_GRACE} or more",
        values=("self.terminationGracePeriodSeconds",),
        field=".terminationGracePeriodSeconds",
    ),
    Rule(
        f"!({_STANDBY}) || !has(self.resources) || !has(self.resources.limits)"
        " || !('cpu' in self.resources.limits)",
        "resources.limits.cpu is %s: in Standby mode the elector runs in the same container, and "
        "one that is slowed down loses its Lease: write a CPU request instead",
        values=("self.resources.limits['cpu']",),
        field=".resources.limits",
    ),
    Rule(
        f"!({_STANDBY}) || !has(self.replicas) || (self.replicas >= 2 && self.replicas <= 10)",
        "replicas is %s in Standby mode: write 2 to 10 candidates, one of which acts",
        values=("self.replicas",),
        field=".replicas",
    ),
    Rule(
        f"!has(self.env) || !self.env.exists(e, {_IS_DECLARED})",
        "env sets %s, which is made from the fields of this resource: remove it; other variables "
        "may refer to it as $(NAME)",
        values=(f"self.env.filter(e, {_IS_DECLARED})[0].name",),
        field=".env",
    ),
    Rule(
        f"!has(self.env) || !self.env.exists(e, {_IS_OWN})",
        "env sets %s, which the operator's own programs in the pod go by: write another name",
        values=(f"self.env.filter(e, {_IS_OWN})[0].name",),
        field=".env",
    ),
    Rule(
        f"!has(self.volumes) || !self.volumes.exists(v, {_OWN_VOLUME})",
        "there is a volume %s, but names that begin with dpe-elector or dpe-memory are the "
        "operator's own: write another name",
        values=(f"self.volumes.filter(v, {_OWN_VOLUME})[0].name",),
        field=".volumes",
    ),
)

WORKER: Final = (
    Rule(
        f"{_STANDBY} || !has(self.replicas) || self.replicas >= 2 || self.allowSingleReplica",
        "replicas is %s, so one fault stops all workflows: write 2 or more, or "
        "allowSingleReplica: true if you accept that",
        values=("self.replicas",),
        field=".replicas",
    ),
)

_UNLIKE: Final = Rule(
    "!has(self.replicas) || (self.replicas >= 2 && self.replicas <= 10)",
    "replicas is %s: write 2 to 10, because one alone stops with its node, and each member is a "
    "Deployment of its own",
    values=("self.replicas",),
    field=".replicas",
)
_HAS_SCHEDULES: Final = "(has(self.schedules) && self.schedules.size() > 0)"
_MEMBERS: Final = "(has(self.replicas) ? self.replicas : 2)"

SCHEDULER: Final = (
    _UNLIKE,
    Rule(
        f"!has(self.schedule) || !{_HAS_SCHEDULES}",
        "schedule is %s and there are schedules too: write one of the two",
        values=("self.schedule",),
        field=".schedules",
    ),
    Rule(
        f"!({_STANDBY}) || !{_HAS_SCHEDULES}",
        "mode is Standby, where one schedule holds for whoever acts: write schedule instead of "
        "schedules, or mode: Concurrent",
        field=".schedules",
    ),
    Rule(
        f"!{_HAS_SCHEDULES} || self.schedules.size() == {_MEMBERS}",
        "schedules has %s entries for %s members: write one for each",
        values=("self.schedules.size()", _MEMBERS),
        field=".schedules",
    ),
    Rule(
        "!has(self.stagger) || (self.mode == 'Concurrent' && has(self.schedule))",
        "stagger is %s, which shifts the schedule of further Concurrent members: write mode: "
        "Concurrent and schedule, or remove it",
        values=("self.stagger",),
        field=".stagger",
    ),
    Rule(
        f"(!has(self.schedule) && !{_HAS_SCHEDULES}) || has(self.timeZone)",
        "there is a schedule and no timeZone: write the zone its times are meant in, such as "
        "timeZone: Europe/Berlin",
        field=".timeZone",
    ),
)

MEMORY: Final = (
    Rule(
        "has(self.claimName) != has(self.size)",
        "write exactly one of claimName (an existing claim) and size (a claim that is made)",
    ),
    Rule(
        "has(self.size) || !has(self.storageClassName)",
        "storageClassName is %s and nothing is made from it: write size, or remove it",
        values=("self.storageClassName",),
        field=".storageClassName",
    ),
)

_MEMORY_PATH: Final = "self.memory.mountPath"

WATCHER: Final = (
    _UNLIKE,
    Rule(
        f"!has(self.memory) || (self.os == 'windows') == {_MEMORY_PATH}.matches('^[A-Za-z]:')",
        "memory.mountPath is %s and os is %s: write a path of that system, such as "
        "/var/lib/dpe/memory on linux or C:\\DPE\\Memory on windows",
        values=(_MEMORY_PATH, "self.os"),
        field=".memory.mountPath",
    ),
    Rule(
        f"!({_STANDBY}) || !has(self.memory) || !{_MEMORY_PATH}.startsWith('/')"
        f" || ({_MEMORY_PATH}.matches('^(/[^/]+){{2,}}$')"
        f" && !{_MEMORY_PATH}.matches('/[.]{{1,2}}(/|$)'))",
        "memory.mountPath is %s, and in Standby mode it becomes a link in the folder above it: "
        "write it without a slash at the end, without . and .., and with a folder above it, such "
        "as /var/lib/dpe/memory",
        values=(_MEMORY_PATH,),
        field=".memory.mountPath",
    ),
    Rule(
        f"{_STANDBY} || has(self.titleTemplate)",
        "mode is Concurrent and there is no titleTemplate, which is what keeps two watchers from "
        "starting the same workflow twice: write the one that DPE is configured with",
        field=".titleTemplate",
    ),
    Rule(
        f"{_STANDBY} || !has(self.memory) || !has(self.memory.claimName)",
        "mode is Concurrent and memory.claimName is %s, which two members would overwrite for "
        "each other: write memory.size, and each gets a claim of its own",
        values=("self.memory.claimName",),
        field=".memory.claimName",
    ),
    Rule(
        f"{_STANDBY} || !has(self.memory) || !has(self.memory.onLoss)",
        "mode is Concurrent, where nobody takes over a memory: remove memory.onLoss",
        field=".memory.onLoss",
    ),
    Rule(
        f"{_STANDBY} || !has(self.titleTemplate) || !self.titleTemplate.trim().startsWith('!0')",
        "titleTemplate is %s: a leading !0 turns DPE's check for an equal title off, so every "
        "change would start two workflows: remove it",
        values=("self.titleTemplate",),
        field=".titleTemplate",
    ),
    Rule(
        f"{_STANDBY} || !has(self.titleTemplate)"
        " || !self.titleTemplate.lowerAscii().matches('%(guid|id)%')",
        "titleTemplate is %s: %%guid%% and %%id%% make every title different, so every change "
        "would start two workflows: remove them",
        values=("self.titleTemplate",),
        field=".titleTemplate",
    ),
)


def _needs(*placeholders: str, what: str) -> Rule:
    """Return the rule that a Concurrent watcher's title names the one thing it is about."""
    found = " && ".join(f"self.titleTemplate.lowerAscii().contains('{p}')" for p in placeholders)
    shown = " and ".join(placeholders).replace("%", "%%")
    return Rule(
        f"{_STANDBY} || !has(self.titleTemplate) || ({found})",
        f"titleTemplate is %s: without {shown} workflows of different {what} get one title and "
        "hold each other up: write it into it",
        values=("self.titleTemplate",),
        field=".titleTemplate",
    )


TABLE_WATCHER: Final = (_needs("%tableid%", "%entryid%", what="entries"),)
FOLDER_WATCHER: Final = (_needs("%filename%", what="files"),)

PART: Final = (
    server_rules.immutable_ref("clusterRef"),
    server_rules.reserved_env(
        server_rules.no_env("self", f"'{DEFAULT_SERVICE_ROOT_ENV}'"),
        f"'{DEFAULT_SERVICE_ROOT_ENV}'",
        where="of the component",
    ),
)

NAME: Final = (
    server_rules.short_name(
        MAX_WORKFLOW_NAME, "names of Deployments, claims and Leases are made from it"
    ),
)
