# SPDX-License-Identifier: Apache-2.0
"""The copy of PAR files: what its pods are told and may do, and what DPE's pods see of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.builders.builder_samples import owner
from tests.unit.builders.par_samples import (
    KEY,
    LONG_STORE,
    PAR_CASES,
    full,
    par_files,
    par_objects,
    par_spec,
)

from dpe_elector.settings import parse as parse_flags
from dpe_operator.api import constants
from dpe_operator.api.par_store import ParStoreSpec
from dpe_operator.builders.context import Manifest
from dpe_operator.builders.par_mounts import par_env, par_volumes
from dpe_operator.builders.par_sync import ANNOTATION_CONFIG, sync_config
from dpe_par_sync.config import Compare, OnDivergence, parse


def made(spec: ParStoreSpec, **options: Any) -> dict[str, Manifest]:
    return {obj["kind"]: obj for obj in par_objects(spec, **options)}


def pod(spec: ParStoreSpec) -> Manifest:
    found: Manifest = made(spec)["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]
    return found


def container(spec: ParStoreSpec) -> Manifest:
    (found,) = pod(spec)["spec"]["containers"]
    return dict(found)


def test_the_program_reads_the_config_and_means_the_same() -> None:
    config = parse(sync_config(owner("ParStore"), full(), adopt="restored"))
    assert (config.store, config.namespace, config.lease) == ("radio", "dpe", "radio-par-sync")
    assert str(config.master) == "/par/master/digas/par"
    assert str(config.master_mount_point) == "/par/master"
    assert str(config.redundant.current) == "/par/redundant/copy/current"
    assert str(config.redundant.mount_point) == "/par/redundant"
    assert (config.compare, config.on_divergence) == (Compare.SIZE_AND_TIME, OnDivergence.STOP)
    assert (str(config.limit), config.quiet_seconds) == ("25", 5)
    assert (config.exclude, config.history_runs) == (("*.tmp", "/cache/"), 30)
    assert (config.adopt, config.max_run_seconds) == ("restored", 1200)


def test_our_defaults_are_those_of_the_program() -> None:
    config = sync_config(owner("ParStore"), par_spec(), adopt="")
    told = ("compare", "maxDeletions", "onDivergence", "quietPeriodSeconds", "exclude", "history")
    bare = {key: value for key, value in config.items() if key not in (*told, "maxRunSeconds")}
    assert parse(config) == parse(bare)


def test_every_pod_carries_the_config_it_was_made_for() -> None:
    template = pod(par_spec())
    text = template["metadata"]["annotations"][ANNOTATION_CONFIG]
    assert parse(json.loads(text))
    (volume,) = [entry for entry in template["spec"]["volumes"] if entry["name"] == "config"]
    (item,) = volume["downwardAPI"]["items"]
    assert item["fieldRef"]["fieldPath"] == f"metadata.annotations['{ANNOTATION_CONFIG}']"
    mounts = {entry["name"]: entry for entry in container(par_spec())["volumeMounts"]}
    path = f"{mounts['config']['mountPath']}/{item['path']}"
    assert container(par_spec())["command"][-3:] == ["dpe-par-sync", "--config", path]


@pytest.mark.parametrize(("longest", "wait"), [("1h", 3720), ("24h", 86400)])
def test_the_elector_takes_its_flags_and_is_process_1(longest: str, wait: int) -> None:
    spec = par_spec(sync={"schedule": "0 3 * * *", "timeZone": "UTC", "maxRunTime": longest})
    program, *flags = container(spec)["command"]
    assert program == "dpe-elector"
    environment = {entry["name"]: "x" for entry in container(spec)["env"]}
    settings = parse_flags(flags, environment)
    assert settings.namespace == "x" and settings.identity.startswith("x_")
    assert settings.once and settings.lease == "radio-par-sync" and settings.probe_port == 0
    at = flags.index("--once-deadline")
    assert flags[at + 1] == str(wait)
    assert settings.grace < pod(spec)["spec"]["terminationGracePeriodSeconds"]


def test_both_volumes_are_seen_whole() -> None:
    mounts = {entry["name"]: entry for entry in container(full())["volumeMounts"]}
    for name in ("master", "redundant"):
        assert "subPath" not in mounts[name] and not mounts[name].get("readOnly")
    claims = {
        entry["name"]: entry["persistentVolumeClaim"]["claimName"]
        for entry in pod(full())["spec"]["volumes"]
        if "persistentVolumeClaim" in entry
    }
    assert claims == {"master": "radio-par-master", "redundant": "radio-par-redundant-nightly"}


def test_the_result_can_say_which_pod_and_job_it_is_of() -> None:
    names = {entry["name"]: entry for entry in container(par_spec())["env"]}
    assert names["JOB_NAME"]["valueFrom"]["fieldRef"]["fieldPath"] == (
        "metadata.labels['batch.kubernetes.io/job-name']"
    )
    assert names["POD_NAME"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_a_cron_job_that_cannot_do_harm() -> None:
    spec = made(par_spec())["CronJob"]["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert (spec["schedule"], spec["timeZone"]) == ("0 3 * * *", "Europe/Berlin")
    assert spec["startingDeadlineSeconds"] == 3600 and spec["suspend"] is False
    job = spec["jobTemplate"]["spec"]
    assert job["backoffLimit"] <= 1
    (rule,) = job["podFailurePolicy"]["rules"]
    assert {2, 3} <= set(rule["onExitCodes"]["values"])
    assert rule["onExitCodes"]["containerName"] == container(par_spec())["name"]


def test_the_owner_s_user_and_group_win() -> None:
    security = pod(full())["spec"]["securityContext"]
    assert (security["runAsUser"], security["fsGroup"]) == (1000, 1000)
    assert security["runAsNonRoot"] is True
    assert "fsGroup" not in pod(par_spec())["spec"]["securityContext"]


def test_rights_on_one_lease_and_nothing_else() -> None:
    objects = made(par_spec())
    assert objects["Role"]["rules"] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["radio-par-sync"],
            "verbs": ["get", "watch", "update"],
        }
    ]
    assert objects["Lease"]["metadata"]["name"] == "radio-par-sync"
    record = objects["Lease"]["metadata"]["annotations"][constants.ANNOTATION_ELECTOR_RECORD]
    assert json.loads(record) == {"state": "released", "epoch": 0}
    assert objects["ServiceAccount"]["automountServiceAccountToken"] is False


def test_a_run_on_demand_is_the_run_of_the_schedule() -> None:
    objects = made(par_spec())
    job = objects["Job"]
    assert job["spec"] == objects["CronJob"]["spec"]["jobTemplate"]["spec"]
    assert job["metadata"]["name"] == "radio-par-sync-now-0123abcd"
    assert job["metadata"]["annotations"] == {"dpe.dev/sync-now": "today"}
    assert job["metadata"]["ownerReferences"][0]["kind"] == "ParStore"


def test_names_fit() -> None:
    spec = par_spec(redundant=[{"name": "p23456789-12345678-x", "size": "1Gi"}])
    objects = made(spec, name=LONG_STORE)
    # the controller adds a dash and ten digits to the names of Jobs
    assert len(objects["CronJob"]["metadata"]["name"]) <= 52
    assert len(objects["Job"]["metadata"]["name"]) <= 63


def test_nothing_runs_where_nothing_is_copied() -> None:
    assert PAR_CASES["par-store-without-copy"]() == []


# --- what DPE's pods see


def test_everybody_sees_both_locations_by_default() -> None:
    for receiver in ("Servers", "Processors", "Workflow"):
        master, redundant = par_volumes(par_files(), "radio", receiver)
        assert (master.mount_path, master.claim_name) == ("/par/master", "par-master")
        assert (redundant.mount_path, redundant.sub_path) == ("/par/redundant-nightly", "current")
        assert not master.read_only and not redundant.read_only


def test_only_whom_it_is_delivered_to_and_as_they_may() -> None:
    par = par_files(deliverTo=["Servers", "Workflow"], readOnlyFor=["Workflow"])
    assert par_volumes(par, "radio", "Processors") == ()
    assert [v.read_only for v in par_volumes(par, "radio", "Workflow")] == [True, True]
    assert [v.read_only for v in par_volumes(par, "radio", "Servers")] == [None, None]


def test_paths_and_folders_as_written() -> None:
    par = par_files(
        master={"size": "1Gi", "subPath": "digas", "mountPath": "D:\\par"},
        redundant=[
            {"name": "n", "nfs": {"server": "nas", "path": "/x"}, "mountPath": "/r", "subPath": "c"}
        ],
        registry={
            "keys": [{"path": KEY, "values": [{"name": "M", "value": "x", "env": "PAR"}]}],
            "mountPath": "C:\\reg",
        },
    )
    master, redundant, registry = par_volumes(par, "radio", "Servers")
    assert (master.claim_name, master.sub_path) == ("radio-par-master", "digas")
    assert master.mount_path == "D:\\par"
    assert redundant.nfs and (redundant.mount_path, redundant.sub_path) == ("/r", "c")
    assert (registry.config_map_name, registry.mount_path) == ("radio-par-registry", "C:\\reg")
    assert [entry.name for entry in par_env(par, "Servers")] == ["PAR"]
