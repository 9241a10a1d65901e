# SPDX-License-Identifier: Apache-2.0
"""Watchers' memory: which claim, who may write to it, and the program that carries it over."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.builders.builder_samples import container, env, pod_spec
from tests.unit.builders.workflow_samples import (
    ELECTOR,
    FOLDER,
    MEMORY,
    TABLE,
    candidates,
    deployments,
    flags,
    members,
    workflow_context,
    workflow_spec,
)

from dpe_elector.settings import parse as parse_elector
from dpe_memory.settings import parse
from dpe_operator.api import constants
from dpe_operator.builders import workflow
from dpe_operator.builders.context import Manifest


def claims(kind: str, mode: str, **memory: Any) -> list[Manifest]:
    spec = workflow_spec(kind, mode, memory={"mountPath": "/var/lib/dpe/memory", **memory})
    return workflow.workflow_claims(workflow_context(kind, spec), kind, spec)


def test_candidates_share_one_claim_that_all_nodes_can_mount() -> None:
    [claim] = claims(TABLE, "Standby", size="1Gi", storageClassName="nfs")
    found = candidates(TABLE, memory={"mountPath": "/var/lib/dpe/memory", "size": "1Gi"})
    [volume] = [v for v in pod_spec(found)["volumes"] if v["name"] == "dpe-memory"]

    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["spec"]["storageClassName"] == "nfs"
    assert "ownerReferences" not in claim["metadata"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_a_claim_of_the_user_is_used_and_not_made() -> None:
    found = candidates(TABLE, memory={"mountPath": "/a/b", "claimName": "mine"})
    [volume] = [v for v in pod_spec(found)["volumes"] if v["name"] == "dpe-memory"]

    assert claims(TABLE, "Standby", claimName="mine") == []
    assert volume["persistentVolumeClaim"]["claimName"] == "mine"


def test_the_memory_is_prepared_between_elector_and_watcher() -> None:
    memory = {"mountPath": "/var/lib/dpe/mem$(X)", "size": "1Gi", "onLoss": "StartEmpty"}
    found = candidates(FOLDER, memory=memory)
    command = container(found)["command"]

    assert command.index(ELECTOR) < command.index(MEMORY)
    assert flags(command, MEMORY) == {
        "--volume": "/dpe-memory",
        "--folder": "workflowfolderwatcher-news",
        "--owner": "dpe/WorkflowFolderWatcher/news",
        "--link": "/var/lib/dpe/mem$$(X)",
        "--on-loss": "StartEmpty",
        "--lease": "news-folder-watcher",
    }
    assert command[-3:] == ["--", "/opt/dpe/run", "--quiet"]
    mounts = {m["name"]: m["mountPath"] for m in container(found)["volumeMounts"]}
    assert mounts["dpe-memory"] == "/dpe-memory"
    assert mounts["dpe-memory-link"] == "/var/lib/dpe"


def test_the_memory_program_takes_these_flags_and_variables() -> None:
    found = candidates(FOLDER, memory={"mountPath": "/var/lib/dpe/memory", "size": "1Gi"})
    command = container(found)["command"]
    given = {
        name: f"<{entry['valueFrom']['fieldRef']['fieldPath']}>"
        for name, entry in env(found).items()
        if name.startswith("DPE_MEMORY_POD_")
    }
    told = parse(command[command.index(MEMORY) + 1 :], {"DPE_ELECTOR_EPOCH": "3", **given})

    assert (told.namespace, told.pod, told.uid) == (
        "<metadata.namespace>", "<metadata.name>", "<metadata.uid>",
    )  # fmt: skip
    assert told.folder == "workflowfolderwatcher-news"
    assert told.command == ("/opt/dpe/run", "--quiet")


def test_without_a_memory_nothing_is_between_them() -> None:
    found = candidates(FOLDER)

    assert MEMORY not in container(found)["command"]
    assert not [name for name in env(found) if name.startswith("DPE_MEMORY")]


@pytest.mark.parametrize(
    ("program", "needs"),
    [
        ("/opt/dpe/run", ("/opt/dpe/run", "/dpe-memory")),
        ("dpe-watcher", ("dpe-watcher", "/dpe-memory")),
        ("/opt/$(RELEASE)/run", ("/opt/$(RELEASE)/run", "/dpe-memory")),
        ("bin/run", ("/dpe-memory",)),
        ("./run", ("/dpe-memory",)),
        ("$(DPE_HOME)/run", ("/dpe-memory",)),
        ("$(PROGRAM)", ("/dpe-memory",)),
    ],
)
def test_a_candidate_needs_its_watcher_and_its_volume(program: str, needs: tuple[str, ...]) -> None:
    memory = {"mountPath": "/var/lib/dpe/memory", "size": "1Gi"}
    command = container(candidates(TABLE, memory=memory, command=[program, "x"]))["command"]
    told = parse_elector(command[command.index(ELECTOR) + 1 :], {"POD_NAMESPACE": "dpe"})

    assert told.needs == needs
    assert told.command[-2:] == (program, "x")


@pytest.mark.parametrize("more", [{}, {"command": ["bin/run"]}])
def test_without_a_memory_the_elector_sees_by_itself_what_is_needed(more: dict[str, Any]) -> None:
    assert "--needs" not in container(candidates(TABLE, **more))["command"]


def test_each_member_has_a_claim_of_its_own() -> None:
    memory = {"mountPath": "/var/lib/dpe/memory", "size": "1Gi"}
    made = claims(TABLE, "Concurrent", size="1Gi")
    found = members(TABLE, memory=memory)

    assert [claim["spec"]["accessModes"] for claim in made] == [["ReadWriteOnce"]] * 2
    for number, (claim, each) in enumerate(zip(made, found, strict=True), start=1):
        labels = claim["metadata"]["labels"]
        assert labels[constants.LABEL_MEMBER] == str(number)
        assert labels[constants.LABEL_OWNER_NAMESPACE] == "dpe"
        [volume] = [v for v in pod_spec(each)["volumes"] if v["name"] == "dpe-memory"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        [mount] = [m for m in container(each)["volumeMounts"] if m["name"] == "dpe-memory"]
        assert mount["mountPath"] == env(each)["DPE_MEMORY_PATH"]["value"] == memory["mountPath"]


@pytest.mark.parametrize("mode", ["Standby", "Concurrent"])
@pytest.mark.parametrize(
    ("claim", "group"), [({"size": "1Gi"}, 65532), ({"claimName": "mine"}, None)]
)
def test_a_new_claim_can_be_written_and_a_user_s_own_is_left_alone(
    mode: str, claim: dict[str, str], group: int | None
) -> None:
    spec = workflow_spec(TABLE, mode, memory={"mountPath": "/var/lib/dpe/memory", **claim})
    for each in deployments(TABLE, spec):
        security = pod_spec(each)["securityContext"]
        assert security.get("fsGroup") == group
        assert security["runAsNonRoot"] is True


def test_watchers_of_one_name_have_memories_of_their_own() -> None:
    names = [
        claim["metadata"]["name"]
        for kind in (TABLE, FOLDER)
        for mode in ("Standby", "Concurrent")
        for claim in claims(kind, mode, size="1Gi")
    ]

    assert len(set(names)) == len(names)
