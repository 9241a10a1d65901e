# SPDX-License-Identifier: Apache-2.0
"""What is made for PAR files, what is said about their copy, and what is never taken away."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.par_world import CLAIM, NAME, STORE, SYNC, ParWorld, par_store, stamp
from tests.support.planning_world import NAMESPACE
from tests.unit.builders.par_samples import KEY

from dpe_operator.api.addresses import par_sync_job_name
from dpe_operator.planning.objects import dig

REGISTRY = {"keys": [{"path": KEY, "values": [{"name": "M", "value": "P:\\par"}]}]}
WAIT = timedelta(hours=1)


@pytest.fixture
def world() -> ParWorld:
    """A store whose claims are bound."""
    made = ParWorld()
    made.work()
    made.bind()
    made.work()
    return made


def pv(claim: str, *, server: str = "", policy: str = "Retain") -> dict[str, Any]:
    source = {"nfs": {"server": server, "path": "/x"}} if server else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pv-{claim}", "namespace": ""},
        "spec": {"persistentVolumeReclaimPolicy": policy, **source},
    }


# --- what is made


def test_all_of_it_is_made() -> None:
    world = ParWorld(par_store(registry=REGISTRY))
    world.work()
    assert world.kinds() == [
        "ConfigMap radio-par-registry",
        "CronJob radio-par-sync",
        "Lease radio-par-sync",
        "PersistentVolumeClaim radio-par-master",
        "PersistentVolumeClaim radio-par-redundant-nightly",
        "Role radio-par-sync",
        "RoleBinding radio-par-sync",
        "ServiceAccount radio-par-sync",
    ]
    assert world.said("RegistryDeclared")[:2] == ("Unknown", "NotVerified")
    assert "declared, not verified in DPE" in world.said("RegistryDeclared")[2]


def test_claims_that_are_named_are_not_made_but_looked_up() -> None:
    names = {"master": {"claimName": "m"}, "redundant": [{"name": "n", "claimName": "r"}]}
    world = ParWorld(par_store(**names))
    world.work()
    assert not [kind for kind in world.kinds() if kind.startswith(CLAIM)]
    status, _, text = world.said("LocationsReady")
    assert status == "False" and f"{CLAIM} m is not there" in text
    assert world.said("Ready")[0] == "False"


def test_without_a_copy_there_is_nothing_to_run() -> None:
    world = ParWorld(par_store(redundant=None, sync=None))
    world.work()
    world.bind()
    world.work()
    assert world.kinds() == ["PersistentVolumeClaim radio-par-master"]
    assert world.said("Ready")[0] == "True"
    assert not world.states("Synced") and not world.states("CopyFresh")


def test_taking_the_copy_away_takes_its_job_away_and_no_file_and_no_history(
    world: ParWorld,
) -> None:
    world.change(redundant=None, sync=None)
    world.work()
    assert world.kinds() == [
        "Lease radio-par-sync",
        "PersistentVolumeClaim radio-par-master",
        "PersistentVolumeClaim radio-par-redundant-nightly",
    ]


def test_a_run_that_goes_on_keeps_its_rights(world: ParWorld) -> None:
    """Without the Lease it would be ended at once."""
    world.annotate(STORE, NAME, sync_now="first")
    world.work()
    (job,) = world.runs()
    world.change(redundant=None, sync=None)
    world.work()
    rights = ("ServiceAccount", "Role", "RoleBinding")
    assert world.runs() == [job] and not world.here("CronJob", SYNC)
    assert all(world.here(kind, SYNC) for kind in rights)
    done = {"type": "Complete", "status": "True", "lastTransitionTime": stamp(world.now)}
    world.get("Job", job)["status"] = {"conditions": [done]}
    world.work()
    assert world.runs() == [] and not any(world.here(kind, SYNC) for kind in rights)


def test_a_nightly_run_that_goes_on_keeps_its_cron_job(world: ParWorld) -> None:
    """With it Kubernetes would take the Job away, in the middle of the copy."""
    world.job("radio-par-sync-1")
    world.change(redundant=None, sync=None)
    world.work()
    assert world.here("CronJob", SYNC) and world.get("CronJob", SYNC)["spec"]["suspend"] is True
    assert all(world.here(kind, SYNC) for kind in ("ServiceAccount", "Role", "RoleBinding"))
    world.job("radio-par-sync-1", "Complete")
    world.work()
    assert not world.here("CronJob", SYNC) and not world.here("Role", SYNC)


def test_a_store_made_anew_finds_its_claims(world: ParWorld) -> None:
    before = {name: world.get(CLAIM, name)["metadata"]["uid"] for name in ("radio-par-master",)}
    for ref in [ref for ref in world.objects if ref.name == SYNC]:
        del world.objects[ref]
    world.remove(STORE, NAME)
    del world.memories[next(ref for ref in world.memories if ref.kind == STORE)]
    world.put(par_store())
    plan = world.work()
    assert not [d for d in plan.deletions if d.ref.kind == CLAIM]
    assert world.said("Accepted")[0] == "True"
    assert world.get(CLAIM, "radio-par-master")["metadata"]["uid"] == before["radio-par-master"]


def test_a_claim_of_somebody_else_is_left_alone() -> None:
    world = ParWorld()
    world.put({"apiVersion": "v1", "kind": CLAIM, "metadata": {"name": "radio-par-master"}})
    world.work()
    status, reason, text = world.said("Accepted")
    assert (status, reason) == ("False", "NameConflict") and "radio-par-master" in text
    assert not world.here("CronJob", SYNC)


def test_without_an_image_it_says_so_and_keeps_the_rest() -> None:
    world = ParWorld()
    world.environment = replace(world.environment, par_sync_image="")
    world.work()
    assert not world.here("CronJob", SYNC)
    assert world.said("SyncReady")[:2] == ("False", "NoImage")
    assert world.said("Degraded")[0] == "True"


# --- what is refused


@pytest.mark.parametrize(
    ("sync", "words"),
    [
        ({"schedule": "0 25 * * *"}, ["spec.sync.schedule", "'0 25 * * *'", "five fields"]),
        ({"schedule": "0 3 * * 7"}, ["spec.sync.schedule", "write 0 for Sunday"]),
        ({"schedule": "0 3 L * *"}, ["spec.sync.schedule", "'L'", "CronJob does not know"]),
        ({"schedule": "0 3 31 2 *"}, ["spec.sync.schedule"]),
        ({"timeZone": "Europe/Nowhere"}, ["spec.sync.timeZone", "IANA"]),
        (
            {"podTemplate": {"spec": {"shareProcessNamespace": True}}},
            ["spec.sync.podTemplate.spec.shareProcessNamespace"],
        ),
    ],
)
def test_refused(sync: dict[str, Any], words: list[str]) -> None:
    whole = {"schedule": "0 3 * * *", "timeZone": "Europe/Berlin", **sync}
    world = ParWorld(par_store(sync=whole))
    world.work()
    status, reason, text = world.said("Accepted")
    assert (status, reason) == ("False", "NotAllowed")
    assert all(word in text for word in words), text
    assert world.kinds() == []


def test_a_refused_change_changes_nothing(world: ParWorld) -> None:
    world.change(sync={"schedule": "0 99 * * *", "timeZone": "Europe/Berlin"})
    world.work()
    assert world.said("Accepted")[0] == "False"
    assert world.get("CronJob", SYNC)["spec"]["schedule"] == "0 3 * * *"


def test_the_claim_that_would_be_made_is_not_the_other_one_too() -> None:
    world = ParWorld(par_store(redundant=[{"name": "n", "claimName": "radio-par-master"}]))
    world.work()
    assert "both on claim radio-par-master" in world.said("Accepted")[2]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            [{"name": "a", "value": "1", "env": "X"}, {"name": "b", "value": "2", "env": "X"}],
            "env X",
        ),
        ([{"name": "a", "value": "1", "file": "par.reg"}], "file par.reg is there twice"),
        (
            [{"name": "a", "type": "REG_MULTI_SZ", "values": ["x" * 512] * 9, "env": "X"}],
            "too long to be given as X",
        ),
        *(
            (
                [{"name": "a", "type": "REG_DWORD", "value": value}],
                f"spec.registry: value a is REG_DWORD and {value} is no such number: write one from"
                " 0 to 4294967295, or with 0x in front one of up to 8 hexadecimal digits",
            )
            for value in ("4294967296", "9999999999", 4294967296, -1, "0x123456789", "ten")
        ),
    ],
)
def test_registry_values_that_cannot_be_handed_over(values: list[Any], words: str) -> None:
    world = ParWorld(par_store(registry={"keys": [{"path": KEY, "values": values}]}))
    world.work()
    assert words in world.said("Accepted")[2]


@pytest.mark.parametrize("value", [0, 4294967295, "4294967295", "0000000010", "0xFFFFFFFF"])
def test_registry_numbers_that_can(value: int | str) -> None:
    values = [{"name": "a", "type": "REG_DWORD", "value": value}]
    world = ParWorld(par_store(registry={"keys": [{"path": KEY, "values": values}]}))
    world.work()
    assert world.said("Accepted")[0] == "True"


# --- what is said about the copy


def test_before_the_first_run_nothing_is_known_and_it_says_how_to_run(world: ParWorld) -> None:
    assert world.said("Synced")[:2] == ("Unknown", "NoRunYet")
    assert "kubectl annotate parstore radio dpe.dev/sync-now=2026-11-22" in world.said("Synced")[2]
    assert world.said("CopyFresh")[0] == "Unknown" and world.said("Divergent")[0] == "Unknown"
    assert world.said("Ready")[0] == "True"
    assert world.said("Ready")[2] == (
        "No run has ended yet (to run now: kubectl annotate parstore radio"
        " dpe.dev/sync-now=2026-11-22). No run has succeeded yet."
    )
    assert world.status["nextRun"] == "2026-11-23T02:00:00Z"


def test_a_good_run(world: ParWorld) -> None:
    world.ran()
    plan = world.carry_out(STORE, NAME)
    assert world.said("Synced")[:2] == ("True", "Copied")
    assert world.said("CopyFresh")[:2] == ("True", "AsScheduled")
    assert world.said("Divergent")[0] == "False"
    assert world.status["lastSuccess"] == {
        "finishedAt": stamp(world.now),
        "files": 12,
        "bytes": 4096,
    }
    assert world.status["lastRun"]["verified"] is True
    assert [notice.reason for notice in plan.notices] == ["Synced"]
    assert world.carry_out(STORE, NAME).notices == ()


def test_a_refused_run_needs_a_person_and_the_last_good_one_stays_known(world: ParWorld) -> None:
    world.ran()
    world.work()
    world.now += WAIT
    world.ran("Refused", message="There is no file in the master.", job="other")
    plan = world.carry_out(STORE, NAME)
    status, reason, text = world.said("Synced")
    assert (status, reason) == ("False", "MasterEmpty") and "no file in the master" in text
    assert world.said("Ready")[0] == "False" and world.said("Degraded")[0] == "True"
    assert world.said("CopyFresh")[0] == "True"
    assert world.status["lastSuccess"]["finishedAt"] == stamp(world.now - WAIT)
    assert [n.reason for n in plan.notices if n.type == "Warning"] == ["NotReady", "SyncRefused"]


@pytest.mark.parametrize(
    ("field", "state", "event", "words"),
    [
        ("divergent", ("True", "LeftInPlace"), "Divergent", "left in place: a.par"),
        ("overwritten", ("False", "Overwritten"), "Overwritten", "in the history: a.par"),
    ],
)
def test_edits_on_the_redundant_side(
    world: ParWorld, field: str, state: tuple[str, str], event: str, words: str
) -> None:
    world.work()
    world.ran(**{field: {"count": 1, "names": ["a.par"]}})
    plan = world.carry_out(STORE, NAME)
    assert world.said("Divergent")[:2] == state
    assert words in world.said("Divergent")[2]
    assert world.status["lastRun"][field] == {"count": 1, "names": ["a.par"]}
    assert world.said("Ready")[0] == "True"
    assert event in [notice.reason for notice in plan.notices]


def test_a_run_that_ended_early_does_not_hide_the_edits(world: ParWorld) -> None:
    world.ran(divergent={"count": 1, "names": ["a.par"]})
    world.work()
    world.now += WAIT
    notes = world.get("Lease", SYNC)["metadata"]["annotations"]
    good = notes["dpe.dev/par-sync-last-success"]
    world.ran("Failed", reason="TimedOut", divergent={"count": 0, "names": []})
    notes["dpe.dev/par-sync-last-success"] = good
    world.work()
    assert world.said("Divergent")[:2] == ("True", "LeftInPlace")


def test_a_run_stopped_by_edits(world: ParWorld) -> None:
    world.ran("Refused", reason="RedundantEdited", message="2 files were edited.")
    world.work()
    assert world.said("Divergent")[:2] == ("True", "RedundantEdited")


def test_a_copy_becomes_too_old_by_time_alone(world: ParWorld) -> None:
    world.now = datetime(2026, 11, 22, 2, 0, 30, tzinfo=UTC)
    world.ran()
    plan = world.work()
    # the run of 02:00 the day after may start an hour late and take an hour
    assert plan.requeue_after == timedelta(hours=23, minutes=59, seconds=32).total_seconds()
    world.now = datetime(2026, 11, 23, 3, 59, tzinfo=UTC)
    plan = world.work()
    assert world.said("CopyFresh")[0] == "True" and world.said("Ready")[0] == "True"
    assert plan.requeue_after == 62.0
    world.now = datetime(2026, 11, 23, 4, 0, 2, tzinfo=UTC)
    world.work()
    assert world.said("CopyFresh")[:2] == ("False", "TooOld")
    assert world.said("Ready")[0] == "False"


def test_a_job_that_left_no_result(world: ParWorld) -> None:
    world.ran(job="radio-par-sync-1")
    world.job("radio-par-sync-1", "Complete")
    world.work()
    world.now += WAIT
    world.job("radio-par-sync-2", "Failed")
    plan = world.carry_out(STORE, NAME)
    status, reason, text = world.said("Synced")
    assert (status, reason) == ("False", "BackoffLimitExceeded")
    assert "radio-par-sync-2" in text and "kubectl logs" in text
    assert world.status["lastRun"]["result"] == "Failed"
    assert "SyncFailed" in [notice.reason for notice in plan.notices]
    world.now += WAIT
    world.ran(job="radio-par-sync-3")
    world.work()
    assert world.said("Synced")[0] == "True"


def test_a_job_that_gave_up_waiting_for_another_run(world: ParWorld) -> None:
    world.job("j", "Failed")
    ended = {"name": "par-sync", "state": {"terminated": {"exitCode": 69, "message": ""}}}
    world.pod("j", phase="Failed", containerStatuses=[ended])
    world.work()
    status, reason, text = world.said("Synced")
    assert (status, reason) == ("False", "Locked") and "waiting for another run" in text


def test_a_failed_job_with_a_result_is_told_in_its_own_words(world: ParWorld) -> None:
    world.ran("Failed", reason="CopyIncomplete", message="1 file.", job="radio-par-sync-1")
    world.now += timedelta(seconds=5)
    world.job("radio-par-sync-1", "Failed")
    world.work()
    assert world.said("Synced")[1] == "CopyIncomplete"


def test_the_pod_s_last_message_counts_where_the_lease_could_not_be_written(
    world: ParWorld,
) -> None:
    run = {"finishedAt": stamp(world.now), "result": "Succeeded", "reason": "FirstCopy", "job": "j"}
    status = {"name": "par-sync", "state": {"terminated": {"message": json.dumps(run)}}}
    world.job("j", "Complete")
    world.pod("j", phase="Succeeded", containerStatuses=[status])
    world.work()
    assert world.said("Synced")[:2] == ("True", "FirstCopy")
    assert world.status["lastSuccess"]["finishedAt"] == stamp(world.now)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"result":"Succeeded"}', '{"finishedAt":"x"}'])
def test_what_is_no_result_is_none(world: ParWorld, text: str) -> None:
    notes = world.get("Lease", SYNC)["metadata"].setdefault("annotations", {})
    notes["dpe.dev/par-sync-result"] = text
    world.work()
    assert world.said("Synced")[1] == "NoRunYet"


def test_a_result_of_a_stranger_shape_fits_into_the_status(world: ParWorld) -> None:
    world.ran(
        files=-1, bytes="x", copied=True, verified="yes", warnings=["w" * 999] * 9, job=7,
        divergent={"count": 30, "names": ["n" * 999] * 30}, skipped=[],
    )  # fmt: skip
    world.work()
    run = world.status["lastRun"]
    assert not {"files", "bytes", "copied", "verified", "skipped"} & set(run)
    assert len(run["warnings"]) == 5 and len(run["divergent"]["names"]) == 20
    assert max(map(len, [*run["warnings"], *run["divergent"]["names"]])) <= 256
    assert run["job"] == "7"


def test_a_pod_that_cannot_start_is_explained(world: ParWorld) -> None:
    world.job("j")
    world.pod("j", conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}])
    world.work()
    assert world.status["running"] == "j"
    status, reason, text = world.said("SyncReady")
    assert (status, reason) == ("False", "RunDoesNotStart") and "0/3 nodes" in text


def test_a_pod_that_takes_long_to_start_is_told_about_only_then(world: ParWorld) -> None:
    world.job("j")
    world.pod("j")
    plan = world.work()
    assert world.said("SyncReady")[0] == "True" and plan.requeue_after == 302.0
    world.now += timedelta(minutes=5)
    world.work()
    assert "kubectl describe pod j-x" in world.said("SyncReady")[2]


def lose_its_node(world: ParWorld, job: str) -> None:
    """Its pod is told to end, and the node does not answer."""
    pod = world.pod(job, phase="Running")
    pod["metadata"]["deletionTimestamp"] = stamp(world.now)
    pod["spec"] = {**pod["spec"], "nodeName": "worker-2"}
    world.put(pod)


def test_a_run_on_a_node_that_stays_away_does_not_stop_the_next_ones(world: ParWorld) -> None:
    """Kubernetes takes its Job for unfinished until the node is back, and makes none beside it."""
    world.job("radio-par-sync-1")
    lose_its_node(world, "radio-par-sync-1")
    plan = world.work()
    assert world.runs() == ["radio-par-sync-1"] and plan.requeue_after == 62.0
    world.now += timedelta(seconds=60)
    plan = world.plan(STORE, NAME)
    (deletion,) = plan.deletions
    notice = deletion.notice
    assert deletion.urgent and notice is not None
    assert (notice.type, notice.reason) == ("Warning", "RunGivenUp")
    assert "pod radio-par-sync-1-x on worker-2 was to end" in notice.note
    world.work()
    assert world.runs() == []


@pytest.mark.parametrize("ended", ["Complete", "Failed"])
def test_a_job_that_has_ended_stays_for_its_log(world: ParWorld, ended: str) -> None:
    world.job("j", ended)
    lose_its_node(world, "j")
    world.now += timedelta(hours=1)
    world.work()
    assert world.runs() == ["j"]


def test_a_run_that_has_another_pod_goes_on(world: ParWorld) -> None:
    world.job("j")
    lose_its_node(world, "j")
    second = world.pod("j", phase="Running")
    lost = {**second, "metadata": {**second["metadata"], "name": "j-y"}}
    lost["metadata"]["deletionTimestamp"] = stamp(world.now)
    world.put(lost)
    world.now += timedelta(hours=1)
    world.work()
    assert world.runs() == ["j"]


def test_a_job_of_somebody_else_is_not_given_up(world: ParWorld) -> None:
    world.job("j")["metadata"]["ownerReferences"][0]["uid"] = "another"
    lose_its_node(world, "j")
    world.now += timedelta(hours=1)
    world.work()
    assert world.runs() == ["j"]


def test_a_run_on_demand_that_is_given_up_is_not_asked_for_again(world: ParWorld) -> None:
    world.annotate(STORE, NAME, sync_now="first")
    world.work()
    (job,) = world.runs()
    lose_its_node(world, job)
    world.now += timedelta(minutes=2)
    plan = world.plan(STORE, NAME)
    assert job not in {child.ref.name for child in plan.children}, "it would be made without a spec"
    world.work()
    assert world.runs() == [] and world.status["onDemand"]["job"] == job


def test_suspended(world: ParWorld) -> None:
    world.ran()
    sync = {"schedule": "0 3 * * *", "timeZone": "Europe/Berlin", "suspend": True}
    world.change(sync=sync)
    world.work()
    assert world.get("CronJob", SYNC)["spec"]["suspend"] is True
    assert world.said("SyncReady")[:2] == ("True", "Suspended")
    assert world.said("CopyFresh")[:2] == ("Unknown", "Suspended")
    assert "nextRun" not in world.status
    world.annotate(STORE, NAME, sync_now="yes")
    world.work()
    assert len(world.runs()) == 1


# --- runs on demand


def test_one_job_for_each_text(world: ParWorld) -> None:
    world.annotate(STORE, NAME, sync_now="first")
    plan = world.carry_out(STORE, NAME)
    assert [notice.reason for notice in plan.done.notices] == ["SyncRequested"]
    (name,) = world.runs()
    world.work()
    assert world.runs() == [name]
    assert world.status["onDemand"] == {"text": "first", "job": name}
    assert (
        world.get("Job", name)["spec"]
        == (world.get("CronJob", SYNC)["spec"]["jobTemplate"]["spec"])
    )
    world.remove("Job", name)
    world.work()
    assert world.runs() == [], "the same text asks once"
    world.annotate(STORE, NAME, sync_now="second")
    world.work()
    assert len(world.runs()) == 1 and world.runs() != [name]


def test_a_status_that_could_not_be_written_makes_no_second_job(world: ParWorld) -> None:
    world.annotate(STORE, NAME, sync_now="first")
    world.work()
    del world.status["onDemand"]
    plan = world.carry_out(STORE, NAME)
    assert len(world.runs()) == 1
    assert not plan.done.notices


def test_a_new_text_takes_away_the_job_that_is_done_and_not_the_one_that_runs(
    world: ParWorld,
) -> None:
    world.annotate(STORE, NAME, sync_now="first")
    world.work()
    (first,) = world.runs()
    world.annotate(STORE, NAME, sync_now="second")
    world.work()
    assert first in world.runs() and len(world.runs()) == 2
    done = {"type": "Complete", "status": "True", "lastTransitionTime": stamp(world.now)}
    world.get("Job", first)["status"] = {"conditions": [done]}
    world.work()
    assert first not in world.runs() and len(world.runs()) == 1


def test_a_job_of_a_store_of_that_name_before_is_waited_for(world: ParWorld) -> None:
    """The garbage collector is about to take it away; the run of this store is still to be made."""
    world.annotate(STORE, NAME, sync_now="first")
    world.work()
    (name,) = world.runs()
    former = world.get("Job", name)
    former["metadata"]["ownerReferences"][0]["uid"] = "former"
    del world.status["onDemand"]
    plan = world.carry_out(STORE, NAME)
    assert "onDemand" not in world.status and not plan.done.notices
    world.remove("Job", name)
    world.work()
    assert world.runs() == [name] and world.status["onDemand"]["job"] == name


def test_the_text_stays_known_when_the_annotation_goes(world: ParWorld) -> None:
    world.annotate(STORE, NAME, sync_now="first")
    world.work()
    (name,) = world.runs()
    world.annotate(STORE, NAME, sync_now=None)
    world.remove("Job", name)
    world.work()
    world.annotate(STORE, NAME, sync_now="first")
    world.work()
    assert world.runs() == []
    assert world.status["onDemand"]["job"] == name


def test_jobs_of_the_schedule_are_the_cron_job_s(world: ParWorld) -> None:
    world.job("radio-par-sync-1", "Complete")
    plan = world.work()
    assert plan.deletions == () and world.here("Job", "radio-par-sync-1")


def test_names_of_jobs_do_not_clash_with_those_of_the_schedule() -> None:
    assert par_sync_job_name("radio", "0123abcd") == "radio-par-sync-now-0123abcd"


def test_the_accepting_text_reaches_the_run(world: ParWorld) -> None:
    world.annotate(STORE, NAME, adopt_par="restored on Monday")
    world.work()
    template = world.get("CronJob", SYNC)["spec"]["jobTemplate"]["spec"]["template"]
    config = json.loads(template["metadata"]["annotations"]["dpe.dev/par-sync-config"])
    assert config["adopt"] == "restored on Monday"


# --- findings


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        (("nas1", "nas1"), ("False", "SameBackEnd")),
        (("nas1", "nas2"), ("True", "Different")),
        (("", ""), ("Unknown", "NotVisible")),
    ],
)
def test_are_the_locations_on_different_storage(
    world: ParWorld, servers: tuple[str, str], said: tuple[str, str]
) -> None:
    world.environment = replace(world.environment, reads_cluster=True)
    claims = ("radio-par-master", "radio-par-redundant-nightly")
    for claim, server in zip(claims, servers, strict=True):
        world.put(pv(claim, server=server))
    world.work()
    assert world.said("LocationsApart")[:2] == said
    assert world.said("Ready")[0] == "True", "a finding does not count"


def test_one_class_for_both_is_told(world: ParWorld) -> None:
    for claim in ("radio-par-master", "radio-par-redundant-nightly"):
        world.get(CLAIM, claim)["spec"]["storageClassName"] = "nfs"
    world.work()
    assert world.said("LocationsApart")[:2] == ("False", "SameStorageClass")


def test_volumes_that_go_with_their_claims_are_told(world: ParWorld) -> None:
    assert world.said("ReclaimPolicy")[0] == "Unknown"
    world.environment = replace(world.environment, reads_cluster=True)
    for claim in ("radio-par-master", "radio-par-redundant-nightly"):
        world.put(pv(claim, server="nas", policy="Delete"))
    world.work()
    assert world.said("ReclaimPolicy")[:2] == ("False", "VolumeGoesWithClaim")
    assert world.said("ClaimsAsWanted")[0] == "True"


# --- the site that it belongs to


def test_without_its_cluster_it_waits_and_then_keeps_what_it_has(world: ParWorld) -> None:
    world.remove("DpeCluster", "radio")
    world.work()
    assert world.said("ClusterRefMissing")[0] == "True"
    assert world.here("CronJob", SYNC)
    assert dig(world.get("CronJob", SYNC), "metadata", "namespace") == NAMESPACE


def test_nothing_is_written_twice(world: ParWorld) -> None:
    world.ran()
    world.work()
    before = dict(world.objects)
    plan = world.carry_out(STORE, NAME)
    assert plan.notices == () and plan.changes == () and plan.deletions == ()
    assert world.objects == before
