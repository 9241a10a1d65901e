# SPDX-License-Identifier: Apache-2.0
"""What the status of a pair says: its members, its balancer, who serves and who would take over."""

from collections.abc import Iterable

from dpe_operator.api import constants
from dpe_operator.api.addresses import balancer_name, member_name
from dpe_operator.api.server import DpeServerSpec, Member
from dpe_operator.builders.balancer_ports import has_balancer
from dpe_operator.planning.objects import Obj, Ref, dig
from dpe_operator.planning.ownership import own_object
from dpe_operator.planning.plan import Notice, Situation
from dpe_operator.planning.record import Record
from dpe_operator.planning.server_draft import GIVE_UP_SECONDS, ServerDraft
from dpe_operator.planning.summary import Part
from dpe_operator.planning.workloads import settled_for, workload_state

MEMBERS_READY = "MembersReady"
BALANCER_READY = "BalancerReady"


def pair_parts(situation: Situation, draft: ServerDraft) -> list[Part]:
    """Return what members and balancer say, as conditions."""
    return [_members_part(situation, draft), _balancer_part(situation, draft)]


def ready_message(draft: ServerDraft) -> str:
    """Return the sentence of a pair that is well."""
    active, standby = draft.record.active, standby_of(draft.spec, draft.record)
    if not has_balancer(draft.spec):
        return "Both servers run; who serves is decided by the site's own balancer."
    return f"{active} serves, {standby} is ready to take over."


def pair_fields(situation: Situation, draft: ServerDraft) -> Obj:
    """Return the fields of the status beside the conditions."""
    record = draft.record
    balanced = has_balancer(draft.spec)
    return {
        "active": record.active if balanced else None,
        "activeSince": record.since if balanced else None,
        "standby": standby_of(draft.spec, record) if balanced else None,
        "serviceRoot": draft.context.service_root,
        "members": [
            {
                "name": member.name,
                "state": record.state(member.name) if balanced else "Unknown",
                "address": _address(situation, draft.spec, member),
            }
            for member in draft.spec.members
        ],
        "lastSwitch": record.last_switch if balanced else None,
        "switchCount": record.count if balanced and record.exists else None,
        "routedBalancer": record.routed if balanced else None,
        "outdated": sorted(draft.outdated),
    }


def switch_notices(situation: Situation, draft: ServerDraft) -> list[Notice]:
    """Return the event about a switch that this reconcile sees for the first time."""
    now = draft.record.last_switch
    before = dig(situation.resource, "status", "lastSwitch", default={})
    if not now or not now.get("from"):
        return []
    if all(now.get(key) == before.get(key) for key in ("from", "to", "cause", "at")):
        return []  # the gap is often known a moment later, which is no other switch
    text = f"{now.get('to')} serves instead of {now['from']} ({now.get('cause', 'unknown')})"
    if now.get("gap"):
        text += f"; gap {now['gap']} as the balancer saw it"
    expected = now.get("cause") in ("Requested", "Terminating", "Failback")
    return [Notice("Normal" if expected else "Warning", "Switched", text)]


def standby_of(spec: DpeServerSpec, record: Record) -> str | None:
    """Return the member that would take over: not the active one, and up."""
    if record.active is None:
        return None
    others = [m.name for m in spec.members if m.name != record.active]
    return next((name for name in others if record.state(name) == "Up"), None)


def _address(situation: Situation, spec: DpeServerSpec, member: Member) -> str:
    if member.external is not None:
        return f"{member.external.host}:{member.external.port or spec.port}"
    name = member_name(situation.name, member.name)
    service = own_object(situation, Ref("Service", situation.namespace, name))
    host = dig(service, "spec", "clusterIP") or f"{name}.{situation.namespace}.svc"
    return f"{host}:{spec.port}"


def _members_part(situation: Situation, draft: ServerDraft) -> Part:
    problems: list[str] = []
    hard = updating = False
    for member in draft.spec.members:
        text, is_hard, is_updating = _member_problem(situation, draft, member)
        if text:
            problems.append(text)
        hard, updating = hard or is_hard, updating or is_updating
    hard = hard or draft.rollout.stopped
    if draft.rollout.message:
        updating = True
        problems.append(draft.rollout.message)
    if not problems and has_balancer(draft.spec) and not draft.record.fresh:
        text = "No balancer that is routed checks the servers, so nobody knows whether they answer."
        return Part(MEMBERS_READY, None, "NotChecked", text)
    if not problems:
        return Part(MEMBERS_READY, True, "AllUp", "Both servers are up.")
    if _nobody_serves(draft):
        text = "no server is up, clients are not served: " + "; ".join(problems)
        return _part(MEMBERS_READY, "NoServerUp", text, True, False)
    reason = "Updating" if updating and not hard else "MemberMissing"
    return Part(
        MEMBERS_READY, False, reason, "; ".join(problems), hard=hard, updating=updating and not hard
    )


def _nobody_serves(draft: ServerDraft) -> bool:
    """Whether the routed balancer sees all servers DOWN, after one has been active."""
    record = draft.record
    if not has_balancer(draft.spec) or not record.fresh or record.active is None:
        return False
    return all(record.state(member.name) == "Down" for member in draft.spec.members)


def _member_problem(
    situation: Situation, draft: ServerDraft, member: Member
) -> tuple[str, bool, bool]:
    """Return what is wrong with a member (empty: nothing), if that is hard, if it is updated."""
    record = draft.record
    state = record.state(member.name)
    checked = has_balancer(draft.spec) and record.fresh
    down = f"{member.name} is {state.lower()} in the balancer's health check"
    if member.external is not None:
        address = f"{member.external.host}:{member.external.port or draft.spec.port}"
        if not checked or state == "Up":
            return "", False, False
        return f"{down} of {address}: check that machine and its health page", True, False
    name = member_name(situation.name, member.name)
    live = own_object(situation, Ref("Deployment", situation.namespace, name))
    pods = situation.observed.pods(constants.COMPONENT_MEMBER, member=member.name)
    workload = workload_state(live, pods, situation.now)
    if not workload.rolled_out:
        text = workload.describe() or "its pod is not there yet"
        return f"{member.name}: {text}", workload.hard, workload.updating and workload.exists
    if checked and state != "Up":
        hopeless = _hopeless_in(situation, draft, member) == 0
        return f"{down}, though its pod is ready", hopeless, False
    return "", False, False


def hopeless_in(situation: Situation, draft: ServerDraft) -> float | None:
    """Return after how many seconds more is to be said of what does not come up, as no event tells;
    None: nothing."""
    waits = [_hopeless_in(situation, draft, member) for member in draft.spec.members]
    waits.append(_never_served_in(situation, draft))
    return min((wait for wait in waits if wait), default=None)


def _hopeless_in(situation: Situation, draft: ServerDraft, member: Member) -> float | None:
    """Return in how many seconds a member whose pod is ready, and that the balancer finds down,
    will not come up by waiting any more (0: so far already); None: it is not such a one."""
    record = draft.record
    if not (has_balancer(draft.spec) and record.fresh) or record.state(member.name) != "Down":
        return None
    pods = situation.observed.pods(constants.COMPONENT_MEMBER, member=member.name)
    return _given_up_in([pods], situation)


def _never_served_in(situation: Situation, draft: ServerDraft) -> float | None:
    """Return the same of a pair whose pods are ready, and of which no server was ever healthy."""
    if not has_balancer(draft.spec) or draft.record.active is not None:
        return None
    observed = situation.observed
    members = draft.spec.in_cluster_members
    pods = [observed.pods(constants.COMPONENT_MEMBER, member=member.name) for member in members]
    return _given_up_in([*pods, observed.pods(constants.COMPONENT_BALANCER)], situation)


def _given_up_in(groups: Iterable[list[Obj]], situation: Situation) -> float | None:
    ready = min(settled_for(pods, situation.now) for pods in groups)
    return max(GIVE_UP_SECONDS - ready, 0.0) if ready else None


def _balancer_part(situation: Situation, draft: ServerDraft) -> Part:
    if not has_balancer(draft.spec):
        return Part(
            BALANCER_READY, None, "External", "The site's own balancer is not watched from here."
        )
    name = balancer_name(situation.name)
    live = own_object(situation, Ref("Deployment", situation.namespace, name))
    pods = situation.observed.pods(constants.COMPONENT_BALANCER)
    workload = workload_state(live, pods, situation.now)
    record = draft.record
    text = workload.describe()
    if not workload.exists:
        return Part(BALANCER_READY, False, "NotMade", "the balancer has not been made yet")
    # a balancer is routed once it has found a server healthy, and not before
    if record.active is None and workload.rolled_out:
        note = (
            "both balancer pods are ready, and no server has been healthy yet, so clients are not"
            " served: see health.path and what it answers"
        )
        hard = workload.hard or _never_served_in(situation, draft) == 0
        return _part(BALANCER_READY, "NoActiveMember", note, hard, False)
    if not record.fresh:
        note = "no balancer is routed, clients are not served"
        note = f"{note}: {text}" if text else note
        # with all pods ready there is nothing left to wait for
        hard = workload.hard or workload.rolled_out
        return _part(BALANCER_READY, "NotRouted", note, hard, False)
    if not workload.rolled_out:
        note = workload.count("balancer pods")
        return _part(BALANCER_READY, "BalancerMissing", note, workload.hard, workload.updating)
    return Part(BALANCER_READY, True, "Routed", f"{record.routed} is routed, both pods are ready.")


def _part(condition: str, reason: str, message: str, hard: bool, updating: bool) -> Part:
    return Part(condition, False, reason, message, hard=hard, updating=updating)
