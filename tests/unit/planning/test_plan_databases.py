# SPDX-License-Identifier: Apache-2.0
"""When a site's databases are looked at, what is kept of it, and what is said about them."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.planning_world import World, cluster

from dpe_operator.builders.database_check import CheckedReference
from dpe_operator.database_check.reference import Reference
from dpe_operator.database_check.report import FINDINGS, GOOD, UNKNOWN, Report, Seen, encode
from dpe_operator.planning.conditions import timestamp
from dpe_operator.planning.database_sentences import described
from dpe_operator.planning.objects import Obj, Ref, dig
from dpe_operator.planning.plan import Plan

KIND = "DpeCluster"
CORE: Obj = {
    "engine": "PostgreSQL",
    "secretRef": {"name": "dpe-core"},
    "env": [{"name": "CORE", "key": "uri"}],
    "requiredKeys": ["password"],
}
NEWS: Obj = {"name": "news", "engine": "SQLServer", "secretRef": {"name": "news-db"}}
TWO: Obj = {
    "mode": "Independent",
    "engine": "PostgreSQL",
    "members": [
        {"name": "a", "secretRef": {"name": "core-a"}},
        {"name": "b", "secretRef": {"name": "core-b"}},
    ],
    "mountPath": "/etc/core",
}
GOOD_CORE = Seen(True, (), "PrimaryService")
GOOD_NEWS = Seen(True, (), "MultiSubnetFailover")


def site(core: Obj | None = CORE, *content: Obj, **spec: Any) -> World:
    databases: Obj = {"content": list(content)}
    if core is not None:
        databases["core"] = core
    world = World(cluster(databases=copy.deepcopy(databases), **spec))
    look(world)
    return world


def look(world: World) -> Plan:
    return world.carry_out(KIND, "radio")


def jobs(world: World) -> list[Obj]:
    return [obj for ref, obj in sorted(world.objects.items()) if ref.kind == "Job"]


def job(world: World) -> Obj:
    (found,) = jobs(world)
    return found


def pod_of(made: Obj) -> Obj:
    template = made["spec"]["template"]
    owner = {"kind": "Job", "name": made["metadata"]["name"], "controller": True,
             "uid": made["metadata"]["uid"], "apiVersion": "batch/v1"}  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{made['metadata']['name']}-x",
            "labels": dict(template["metadata"]["labels"]),
            "ownerReferences": [owner],
        },
        "spec": {},
        "status": {"phase": "Pending"},
    }


def end(world: World, *seen: Seen, likeness: Any = None, message: str | None = None) -> None:
    """Let the Job's pod end with a result, and the Job with it."""
    made = job(world)
    text = encode(Report(seen, likeness)) if message is None else message
    pod = pod_of(made)
    ended = {"exitCode": 0, "message": text, "finishedAt": timestamp(world.now)}
    pod["status"] = {
        "phase": "Succeeded",
        "containerStatuses": [{"name": "check", "state": {"terminated": ended}}],
    }
    world.put(pod)
    finish(world, "Complete")
    look(world)


def finish(world: World, kind: str, **fields: str) -> None:
    condition = {"type": kind, "status": "True", "lastTransitionTime": timestamp(world.now)}
    job(world)["status"] = {"conditions": [{**condition, **fields}]}


def later(world: World, seconds: float) -> Plan:
    world.now += timedelta(seconds=seconds)
    return look(world)


def state(world: World, kind: str) -> tuple[str, str]:
    found = world.condition(KIND, "radio", kind)
    return found["status"], found["reason"]


def message(world: World, kind: str) -> str:
    return str(world.condition(KIND, "radio", kind)["message"])


def stated(world: World) -> set[str]:
    return {entry["type"] for entry in world.get(KIND, "radio")["status"]["conditions"]}


# --- a site without databases


def test_without_databases_nothing_is_made_and_that_is_said() -> None:
    world = World(cluster())
    plan = look(world)
    assert jobs(world) == [] and plan.requeue_after is None
    assert state(world, "DatabasesRedundant") == ("Unknown", "NotDeclared")
    assert not {"DatabaseSecretsPresent", "CoreDatabaseShared"} & stated(world)
    assert "databases" not in world.get(KIND, "radio")["status"]


# --- when it is looked


def test_the_first_look_is_at_once() -> None:
    world = site()
    args = job(world)["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[:2] == [
        "--references",
        '[{"engine":"PostgreSQL","keys":["uri","password"]}]',
    ]
    assert state(world, "DatabaseSecretsPresent") == ("Unknown", "NotChecked")
    assert state(world, "DatabasesRedundant") == ("Unknown", "NotChecked")


def test_while_a_job_runs_nothing_is_planned() -> None:
    world = site()
    before = job(world)
    plan = later(world, 200)
    assert job(world) == before
    assert plan.requeue_after is None and plan.deletions == ()
    assert f"Job {before['metadata']['name']} is at it" in message(world, "DatabasesRedundant")


def test_between_two_looks_nothing_is_planned_but_the_next_one() -> None:
    world = site()
    end(world, GOOD_CORE)
    before = copy.deepcopy(world.objects)
    plan = later(world, 600)
    assert world.objects == before
    assert plan.requeue_after == pytest.approx(3000, abs=1)
    assert [child for child in plan.children if child.ref.kind == "Job"] == []


def test_one_look_is_one_job_however_often_it_is_planned() -> None:
    world = site()
    made = job(world)["metadata"]["name"]
    world.remove("Job", made)
    later(world, 3000)
    assert job(world)["metadata"]["name"] == made


def test_after_an_hour_it_is_looked_again_and_the_former_job_goes() -> None:
    world = site()
    former = job(world)["metadata"]["name"]
    end(world, GOOD_CORE)
    later(world, 3601)
    assert job(world)["metadata"]["name"] != former
    assert state(world, "DatabaseSecretsPresent") == ("True", "AllThere"), "until the new one ends"
    end(world, Seen(False, (0, 1), "Missing"))
    assert state(world, "DatabaseSecretsPresent") == ("False", "SecretMissing")


def test_the_result_outlives_job_and_pod() -> None:
    world = site()
    end(world, GOOD_CORE)
    world.remove("Job", job(world)["metadata"]["name"])
    for ref in [ref for ref in world.objects if ref.kind == "Pod"]:
        world.remove(ref.kind, ref.name)
    later(world, 60)
    assert jobs(world) == []
    assert state(world, "DatabaseSecretsPresent") == ("True", "AllThere")
    kept = world.get(KIND, "radio")["status"]["databases"]
    assert kept["references"] == [{"name": "core", "found": True, "finding": "PrimaryService"}]
    assert kept["checkedAt"] == timestamp(world.now - timedelta(seconds=60))


def test_what_is_missing_is_looked_for_sooner() -> None:
    world = site()
    end(world, Seen(False, (0, 1), "Missing"))
    assert later(world, 100).requeue_after == pytest.approx(200, abs=1)
    later(world, 201)
    end(world, GOOD_CORE)
    assert state(world, "DatabaseSecretsPresent") == ("True", "AllThere")


def test_other_references_are_looked_at_at_once_and_the_former_result_is_none() -> None:
    world = site()
    end(world, GOOD_CORE)
    former = job(world)["metadata"]["name"]
    world.edit(KIND, "radio", databases={"core": {**CORE, "secretRef": {"name": "other"}}})
    look(world)
    assert job(world)["metadata"]["name"] != former
    assert state(world, "DatabaseSecretsPresent") == ("Unknown", "NotChecked")
    assert "databases" not in world.get(KIND, "radio")["status"]


def test_a_running_job_for_other_references_goes() -> None:
    world = site()
    former = job(world)["metadata"]["name"]
    world.edit(KIND, "radio", databases={"core": {**CORE, "secretRef": {"name": "other"}}})
    look(world)
    assert job(world)["metadata"]["name"] != former


def test_without_databases_any_more_the_job_goes() -> None:
    world = site()
    del world.get(KIND, "radio")["spec"]["databases"]
    look(world)
    assert jobs(world) == []


def test_on_demand() -> None:
    world = site()
    end(world, GOOD_CORE)
    former = job(world)["metadata"]["name"]
    world.annotate(KIND, "radio", check_databases="now")
    look(world)
    assert job(world)["metadata"]["name"] != former
    assert state(world, "DatabaseSecretsPresent") == ("True", "AllThere"), "as before until then"
    end(world, Seen(False, (0, 1), "Missing"))
    assert state(world, "DatabaseSecretsPresent") == ("False", "SecretMissing")
    before = copy.deepcopy(world.objects)
    later(world, 60)
    assert world.objects == before, "a wish is carried out once"


def test_what_is_no_reference_is_no_reason_to_look() -> None:
    world = site()
    end(world, GOOD_CORE)
    former = job(world)["metadata"]["name"]
    world.edit(KIND, "radio", databases={"core": {**CORE, "deliverTo": ["Servers", "Workflow"]}})
    look(world)
    assert job(world)["metadata"]["name"] == former


# --- when looking fails


def test_a_failed_job_is_explained_and_followed_by_another() -> None:
    world = site()
    former = job(world)["metadata"]["name"]
    finish(world, "Failed", reason="DeadlineExceeded", message="Job was active too long")
    plan = look(world)
    assert job(world)["metadata"]["name"] == former
    assert plan.requeue_after == pytest.approx(300, abs=1)
    assert "Job was active too long" in message(world, "DatabaseSecretsPresent")
    later(world, 301)
    assert job(world)["metadata"]["name"] != former


def test_a_pod_that_does_not_start_is_explained() -> None:
    world = site()
    pod = pod_of(job(world))
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    pod["status"]["containerStatuses"] = [{"name": "check", "state": {"waiting": waiting}}]
    world.put(pod)
    look(world)
    assert "no such image" in message(world, "DatabaseSecretsPresent")


def test_a_result_that_nobody_could_read_is_missed() -> None:
    world = site()
    finish(world, "Complete")
    look(world)
    assert "its pod was gone" in message(world, "DatabaseSecretsPresent")


def test_a_failed_look_leaves_the_result_until_it_is_too_old() -> None:
    world = site()
    end(world, GOOD_CORE)
    later(world, 3601)
    finish(world, "Failed", message="no quota")
    look(world)
    assert state(world, "DatabaseSecretsPresent") == ("True", "AllThere")
    world.now += timedelta(seconds=3 * 3600)
    finish(world, "Failed", message="no quota")
    look(world)
    assert state(world, "DatabaseSecretsPresent") == ("Unknown", "NotChecked")
    assert "too old to count" in message(world, "DatabasesRedundant")


def test_an_operator_that_does_not_know_its_image_says_so() -> None:
    world = World(cluster(databases={"core": CORE}))
    world.environment = replace(world.environment, operator_image="")
    plan = look(world)
    assert jobs(world) == [] and plan.requeue_after is None
    assert "DPE_OPERATOR_OPERATOR_IMAGE" in message(world, "DatabaseSecretsPresent")


@pytest.mark.parametrize(
    "text",
    [
        "", "oops", '{"v":1,"seen":[],"likeness":null}', '{"v":2,"seen":[[1,[],"OneHost"]]}',
        '{"v":1,"seen":[[1,[7],"OneHost"]],"likeness":null}',
        '{"v":1,"seen":[[1,[],"Server=db;Password=x"]],"likeness":null}',
    ],
)  # fmt: skip
def test_a_message_that_is_no_result_is_none(text: str) -> None:
    world = site()
    end(world, message=text)
    assert state(world, "DatabasesRedundant") == ("Unknown", "NotChecked")
    assert "Password" not in str(world.get(KIND, "radio")["status"])


def test_the_result_of_a_pod_that_is_not_of_the_job_is_none() -> None:
    world = site()
    pod = pod_of(job(world))
    pod["metadata"]["ownerReferences"] = []
    ended = {"exitCode": 0, "message": encode(Report((GOOD_CORE,))),
             "finishedAt": timestamp(world.now)}  # fmt: skip
    pod["status"] = {"containerStatuses": [{"name": "check", "state": {"terminated": ended}}]}
    world.put(pod)
    look(world)
    assert state(world, "DatabasesRedundant") == ("Unknown", "NotChecked")


# --- what is said


def test_only_what_is_missing_counts_for_ready() -> None:
    world = site(CORE, NEWS)
    world.settle("DpeServer", "radio")
    world.settle("ProcessorFarm", "radio-audio")
    world.run_all()
    world.record("radio")
    for _ in range(2):
        world.carry_out("DpeServer", "radio")
        world.carry_out("ProcessorFarm", "radio-audio")
    end(world, Seen(True, (), "OneHost"), Seen(True, (), "ListenerOrHost"))
    assert state(world, "Ready")[0] == "True", message(world, "Ready")
    assert state(world, "DatabasesRedundant") == ("False", "OneHost")
    later(world, 3601)
    end(world, Seen(True, (1,), "PrimaryService"), Seen(False, (), "Missing"))
    assert state(world, "Ready") == ("False", "SecretMissing")
    assert message(world, "DatabaseSecretsPresent") == (
        "core: Secret dpe-core has no entry password: add it, or name another key; content news: "
        "Secret news-db is not there, or is empty: create it"
    )
    assert state(world, "DatabasesRedundant")[0] == "Unknown"
    assert world.get(KIND, "radio")["status"]["databases"]["references"][0]["missing"] == [
        "password"
    ]


def test_redundancy() -> None:
    world = site(CORE, NEWS)
    end(world, GOOD_CORE, GOOD_NEWS)
    assert state(world, "DatabasesRedundant") == ("True", "FailOver")
    text = message(world, "DatabasesRedundant")
    assert text == (
        "core: a Service that follows the primary is named (-rw); "
        "content news: a listener is named (MultiSubnetFailover)"
    )


def test_a_finding_is_told_once() -> None:
    world = site()
    end(world, GOOD_CORE)
    later(world, 3601)
    made = job(world)
    pod = pod_of(made)
    ended = {"exitCode": 0, "message": encode(Report((Seen(True, (), "OneHost"),))),
             "finishedAt": timestamp(world.now)}  # fmt: skip
    pod["status"] = {"containerStatuses": [{"name": "check", "state": {"terminated": ended}}]}
    world.put(pod)
    assert [n.reason for n in look(world).notices if n.reason == "DatabaseFinding"] == [
        "DatabaseFinding"
    ]
    assert [n for n in look(world).notices if n.reason == "DatabaseFinding"] == []


@pytest.mark.parametrize("code", sorted(GOOD | FINDINGS | UNKNOWN))
def test_every_code_has_a_sentence(code: str) -> None:
    asked = CheckedReference("content/news", "news", Reference("Other"))
    text = described([(asked, Seen(True, (), code))])
    assert text.startswith("content news: ") and text != f"content news: {code}"
    assert text.count(": ") > 1 or code not in FINDINGS, "a finding has a cure"


def test_equal_findings_share_a_sentence() -> None:
    asked = [CheckedReference(name, "s", Reference("Other")) for name in ("core/a", "core/b")]
    text = described((entry, Seen(True, (), "OtherEngine")) for entry in asked)
    assert text == "core of a, core of b: connection strings of engine Other are not read"


# --- one core database, or two


def test_shared_is_one_by_construction() -> None:
    world = site()
    assert state(world, "CoreDatabaseShared") == ("True", "OneCoreDatabase")
    assert state(world, "CoreDatabaseConsistent") == ("True", "OneSecret")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"server": {"members": [{"name": "a", "env": [{"name": "CORE", "value": "x"}]},
                                 {"name": "b"}]}}, "Overridden"),
        ({"server": {"env": [{"name": "CORE", "value": "x"}]}}, "Overridden"),
        ({"server": {"members": [{"name": "a"},
                                 {"name": "b", "external": {"host": "dpe2.studio"}}]}},
         "MembersOutside"),
        ({"core": {"deliverTo": ["Processors"]}}, "NotDelivered"),
        ({"core": {"env": []}}, "NotDelivered"),
    ],
)  # fmt: skip
def test_shared_that_cannot_be_seen(change: Obj, reason: str) -> None:
    world = site({**CORE, **change.get("core", {})}, server=change.get("server"))
    assert state(world, "CoreDatabaseConsistent") == ("Unknown", reason)


@pytest.mark.parametrize(
    ("likeness", "wanted"),
    [
        ("Different", ("True", "TwoDatabases")),
        ("Same", ("False", "SameDatabase")),
        ("Unknown", ("Unknown", "CannotTell")),
    ],
)
def test_independent(likeness: str, wanted: tuple[str, str]) -> None:
    world = site(TWO)
    assert state(world, "CoreDatabaseConsistent") == ("Unknown", "NotChecked")
    end(world, GOOD_CORE, GOOD_CORE, likeness=likeness)
    assert state(world, "CoreDatabaseConsistent") == wanted
    assert state(world, "CoreDatabaseShared") == ("False", "Independent")
    assert "one core database on a fail-over cluster" in message(world, "CoreDatabaseShared")
    kept = world.get(KIND, "radio")["status"]["databases"]
    assert [entry["name"] for entry in kept["references"]] == ["core/a", "core/b"]
    later(world, 60)
    assert state(world, "CoreDatabaseConsistent") == wanted, "from what the status keeps"


def test_independent_secrets_are_compared_and_content_is_not() -> None:
    world = site(TWO, NEWS)
    spec = job(world)["spec"]["template"]["spec"]
    assert spec["containers"][0]["args"][1].count('"compared":true') == 2
    assert [dig(volume, "secret", "secretName") for volume in spec["volumes"]] == [
        "core-a",
        "core-b",
        "news-db",
    ]


def test_one_independent_member_is_not_compared() -> None:
    server = {"members": [{"name": "a"}, {"name": "b", "external": {"host": "dpe2.studio"}}]}
    world = site({**TWO, "members": TWO["members"][:1]}, server=server)
    end(world, GOOD_CORE)
    assert state(world, "CoreDatabaseConsistent") == ("Unknown", "MembersOutside")


def test_a_refused_spec_leaves_the_checks_of_the_accepted_one() -> None:
    world = site()
    end(world, GOOD_CORE)
    former = job(world)["metadata"]["name"]
    bad = {**CORE, "secretRef": {"name": "x"}, "env": [{"name": "DPE_SERVICE_ROOT", "key": "k"}]}
    world.edit(KIND, "radio", databases={"core": bad})
    look(world)
    assert state(world, "Accepted") == ("False", "NotAllowed")
    assert job(world)["metadata"]["name"] == former
    assert world.has("DpeServer", "radio")


def test_a_job_of_somebody_else_is_left_alone() -> None:
    world = site()
    made = job(world)
    labels = made["metadata"]["labels"]
    world.put({"apiVersion": "batch/v1", "kind": "Job", "spec": {},
               "metadata": {"name": "other", "labels": dict(labels)}})  # fmt: skip
    look(world)
    assert Ref("Job", "studio", "other") in world.objects
    assert len(jobs(world)) == 2


def test_beside_par_files_on_claims_of_the_operator() -> None:
    world = site(parFiles={"master": {"size": "1Gi"}})
    assert state(world, "Accepted") == ("True", "Accepted")
