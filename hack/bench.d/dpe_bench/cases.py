# SPDX-License-Identifier: Apache-2.0
"""What is measured: scenarios, subjects, and how many runs of each are the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")

# Before anything is broken: what clients see when nothing happens. The same in all runs.
UNDISTURBED_SECONDS = 4
DATABASE_FROZEN_SECONDS = 20
API_DOWN_SECONDS = 60
API_DOWN_WITH_NODE_SECONDS = 25
# An API server that is started needs so long at most until it answers (machines.wait_api_server).
API_STARTS_WITHIN_SECONDS = 180
LOSS_SECONDS = 150
# For so long clients go on after a fault is over, at least. An outage that a run's end cuts short
# shows after a second only (dpe_operator.prober.measure): who stops before has seen no gap.
WATCHED_SECONDS = 2


@dataclass(frozen=True)
class Scenario:
    """A fault, and how many seconds clients are watched after it: `others_seconds` with baselines.

    `tail`: clients are ended so many seconds after what was done is over, and the others are how
    long at most; 0: they are not. After an API server was away it is at least 10, since what
    happened meanwhile is recorded once the balancers have heard of it again.
    `level`: pod, node or api; it says how many runs are the plan, unless `runs` does. `needs`: what
    a subject must have for it. `about`: what is hit: servers, singletons or farms. Of the last two
    it is how long a run waits at most for somebody else to go on.
    """

    name: str
    text: str
    level: str
    seconds: int
    others_seconds: int
    needs: str = ""
    about: str = "servers"
    tail: int = 0
    runs: int = 0

    @property
    def loses_node(self) -> bool:
        """Whether a whole machine is gone, and its node port with it."""
        return self.name.endswith("-node-cut")


@dataclass(frozen=True)
class Subject:
    """A way to run DPE; `ours` or a baseline. `has`: balancer, switch, lease, profiles.

    `does`: which of servers, singletons and farms are measured with it.
    """

    name: str
    text: str
    ours: bool
    has: frozenset[str]
    does: frozenset[str] = frozenset({"servers"})


def _api_away(seconds: int, tail: int) -> int:
    return seconds + API_STARTS_WITHIN_SECONDS + tail


# Kubernetes takes 50 s to notice a lost node and its probes 30 s for a pod that hangs: the others
# are watched for longer, or their gaps would not be over. Ours: several times the gaps that were
# seen; the fault itself comes up to 2.5 s after the undisturbed part. In this order they take
# turns: before a balancer's node is lost the balancers must have been left alone for half a minute,
# which the scenarios before it do.
SCENARIOS = {
    one.name: one
    for one in (
        Scenario("server-crash", "the active server's process is killed", "pod", 6, 20),
        Scenario("server-hang", "the active server is stopped (SIGSTOP)", "pod", 8, 50),
        Scenario("server-node-cut", "the active server's node is cut off", "node", 14, 80),
        Scenario(
            "balancer-delete", "the routed balancer's pod is deleted", "pod", 6, 20, "balancer"
        ),
        # a control: no client uses it, so what is seen is what a new pod costs on this machine
        Scenario(
            "standby-balancer-delete",
            "the standby balancer's pod is deleted; no client uses it, so a gap is what the making"
            " of a pod costs on this machine",
            "pod", 6, 6, "switch", runs=10,
        ),
        Scenario("balancer-kill", "the routed HAProxy is killed", "pod", 6, 20, "balancer"),
        Scenario("planned-switch", "the other server is made active", "pod", 6, 14, "switch"),
        Scenario(
            "balancer-node-cut", "the routed balancer's node is cut off", "node", 14, 80,
            "balancer",
        ),
        Scenario(
            "database-freeze", f"the core database stands still for {DATABASE_FROZEN_SECONDS} s",
            "pod", DATABASE_FROZEN_SECONDS + 10, DATABASE_FROZEN_SECONDS + 15,
        ),
        Scenario(
            "balancer-and-server-node-cut",
            "the node of the routed balancer and the active server is cut off", "node", 16, 80,
            "balancer",
        ),
        # as long as it takes, and as `Nodes.drain` and `Subject.roll` wait for it at most
        Scenario("drain", "the active server's node is drained", "node", 150, 150, tail=20),
        Scenario(
            "rolling-update", "both servers get a new pod template", "pod", 200, 400, tail=8
        ),
        Scenario(
            "packet-loss", f"1 % of the packets to the active server are lost for {LOSS_SECONDS} s",
            "node", LOSS_SECONDS + 10, LOSS_SECONDS + 10,
        ),
        Scenario(
            "api-outage",
            f"the API server is down for {API_DOWN_SECONDS} s and its own start; after a third of"
            " them the active server's process is killed",
            "api", _api_away(API_DOWN_SECONDS, 10), _api_away(API_DOWN_SECONDS, 10), tail=10,
        ),
        Scenario(
            "api-outage-and-balancer-node-cut",
            f"the API server is down for {API_DOWN_WITH_NODE_SECONDS} s and its own start, and the"
            " routed balancer's node is cut off for good",
            "api", _api_away(API_DOWN_WITH_NODE_SECONDS, 60),
            _api_away(API_DOWN_WITH_NODE_SECONDS, 60), "switch", tail=60,
        ),
        Scenario("singleton-crash", "the command of the one that acts is killed", "pod", 40, 120,
                 about="singletons"),
        Scenario("singleton-delete", "the pod of the one that acts is deleted", "pod", 40, 120,
                 about="singletons"),
        Scenario("singleton-node-cut", "the node of the one that acts is cut off", "node", 60, 450,
                 about="singletons"),
        Scenario("singleton-node-cut-fast", "the same with the timings Fast", "node", 40, 40,
                 "profiles", about="singletons"),
        Scenario("singleton-frozen", "the node of the one that acts stands still until another"
                 " acts, and goes on then", "node", 60, 60, "lease", about="singletons"),
        Scenario("farm-node-cut", "a node with a third of a farm's processors is cut off", "node",
                 180, 480, about="farms"),
    )
}  # fmt: skip

SUBJECTS = {
    one.name: one
    for one in (
        Subject(
            "dpe-operator", "this operator, default settings, TLS mode Passthrough", True,
            frozenset({"balancer", "switch", "lease", "profiles"}),
            frozenset({"servers", "singletons", "farms"}),
        ),
        Subject(
            "dpe-operator-terminate", "this operator, default settings, TLS mode Terminate", True,
            frozenset({"balancer", "switch"}),
        ),
        Subject(
            "deployment", "a Deployment of two servers behind a Service, both active", False,
            frozenset(), frozenset({"servers", "singletons", "farms"}),
        ),
        Subject(
            "haproxy-default",
            "two HAProxy pods with default check timings behind an ordinary Service", False,
            frozenset({"balancer"}),
        ),
        Subject(
            "client-go", "two candidates under client-go's leader election, default timings", False,
            frozenset({"lease"}), frozenset({"singletons"}),
        ),
    )
}  # fmt: skip

# The node of the routed balancer is lost, and not that of the active server.
BALANCER_NODE_CUTS = ("balancer-node-cut", "api-outage-and-balancer-node-cut")

# Both servers stay up in these, so that the next run need not wait until they have been up again.
LEAVE_SERVERS_UP = frozenset(
    {"balancer-delete", "standby-balancer-delete", "balancer-kill", "planned-switch"}
)

# The longest time without an answer that was the goal, in milliseconds, for a client in a pod, by
# scenario and subject. Where a goal cannot be met, docs/how-to/measure-failover.md says why.
_BOTH = ("dpe-operator", "dpe-operator-terminate")
GOALS_MS: Mapping[tuple[str, str], int] = {
    **{
        (scenario, subject): goal
        for scenario, goal in {
            "server-crash": 500, "server-hang": 2500, "server-node-cut": 1500,
            "balancer-delete": 100, "balancer-kill": 1000, "balancer-node-cut": 3000,
        }.items()
        for subject in _BOTH
    },
    **{
        (scenario, "dpe-operator-terminate"): 50
        for scenario in ("planned-switch", "drain", "rolling-update")
    },
}  # fmt: skip

RUNS = {"pod": 30, "node": 10, "api": 3}
OTHERS_RUNS = {"pod": 10, "node": 3, "api": 3}


@dataclass(frozen=True)
class Item:
    """One line of the plan: `runs` of a scenario with a subject."""

    scenario: Scenario
    subject: Subject
    runs: int

    @property
    def key(self) -> tuple[str, str]:
        """How its runs are found again."""
        return self.scenario.name, self.subject.name

    @property
    def load_seconds(self) -> int:
        """How long clients send in one run; at most, where the scenario ends them."""
        own = self.subject.ours
        after = self.scenario.seconds if own else self.scenario.others_seconds
        return UNDISTURBED_SECONDS + after


def plan(
    scenarios: list[str] | None = None, subjects: list[str] | None = None, runs: int | None = None
) -> list[Item]:
    """Return what is to be measured, baselines after ours; what a subject cannot do is left out.

    Args:
        scenarios: names; None means all.
        subjects: names; None means all.
        runs: how many of each; None means the plan's number.

    Raises:
        ValueError: for a name that is not known; says which are.
    """
    found = []
    for subject in _named(SUBJECTS, subjects, "SUBJECT"):
        for scenario in _named(SCENARIOS, scenarios, "SCENARIO"):
            if scenario.about not in subject.does:
                continue
            if scenario.needs and scenario.needs not in subject.has:
                continue
            planned = scenario.runs or (RUNS if subject.ours else OTHERS_RUNS)[scenario.level]
            found.append(Item(scenario, subject, planned if runs is None else runs))
    return found


def subjects_with(about: str) -> dict[str, Subject]:
    """The subjects with which servers, singletons or farms are measured, by name."""
    return {name: one for name, one in SUBJECTS.items() if about in one.does}


def _named(known: Mapping[str, _T], wanted: list[str] | None, what: str) -> list[_T]:
    for name in wanted or []:
        if name not in known:
            raise ValueError(f"{what}: there is no {name!r}; there are: {', '.join(known)}")
    return [known[name] for name in (wanted or known)]
