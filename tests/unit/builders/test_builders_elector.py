# SPDX-License-Identifier: Apache-2.0
"""The elector in any image: its command lines, and what a podTemplate may not do to it."""

from __future__ import annotations

from typing import Any

import pytest

from dpe_elector.settings import parse
from dpe_elector.timings import PROFILES
from dpe_operator.api.clients import ClientProfile
from dpe_operator.builders.elector import Election, elector_command, elector_env, once_command
from dpe_operator.planning.acceptance import template_problems


def test_the_form_for_foreign_images_needs_neither_shell_nor_python() -> None:
    found = elector_command(Election(lease="radio-x", grace_seconds=60), ["/bin/x", "--", "y"])

    assert " ".join(found) == (
        "/dpe-elector/ld.so --library-path /dpe-elector/lib /dpe-elector/bin/python3 -I -B -S -u"
        " /dpe-elector/packages/dpe_elector --lease radio-x --profile Safe --grace 57"
        " --probe-port 8081 -- /bin/x -- y"
    )


def test_everything_that_is_needed_is_told_one_by_one() -> None:
    election = Election(lease="radio-x", grace_seconds=60, needs=("/bin/watcher", "/volume"))
    found = elector_command(election, ["/bin/x"])
    told = parse(
        found[found.index("/dpe-elector/packages/dpe_elector") + 1 :], {"POD_NAMESPACE": "x"}
    )

    assert told.needs == ("/bin/watcher", "/volume")
    assert told.command == ("/bin/x",)


def test_the_form_for_one_run_in_an_image_of_ours() -> None:
    election = Election(lease="radio-sync", grace_seconds=30, profile="Fast")

    assert " ".join(once_command(election, ["dpe-par-sync", "run"], deadline_seconds=300)) == (
        "dpe-elector --lease radio-sync --profile Fast --grace 27 --probe-port 0"
        " --once --once-deadline 300 -- dpe-par-sync run"
    )


def test_the_elector_takes_both_forms() -> None:
    election = Election(lease="radio-x", grace_seconds=30, profile="Fast")
    here = {
        variable.name: f"<{variable.value_from.field_ref.field_path}>"
        for variable in elector_env()
        if variable.value_from and variable.value_from.field_ref
    }
    foreign = elector_command(election, ["/bin/x"])
    long = parse(foreign[foreign.index("/dpe-elector/packages/dpe_elector") + 1 :], here)
    once = parse(once_command(election, ["/bin/x"], deadline_seconds=300)[1:], here)

    assert (long.lease, long.grace, long.probe_port, long.once) == ("radio-x", 27, 8081, False)
    assert (once.lease, once.grace, once.probe_port, once.once) == ("radio-x", 27, 0, True)
    assert long.namespace == once.namespace == "<metadata.namespace>"
    assert long.identity.startswith("<metadata.uid>") and long.pod == "<metadata.name>"
    assert long.timings == once.timings == PROFILES["Fast"]
    assert long.command == once.command == ("/bin/x",)


def dpe(**changes: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "dpe", **changes}]}}


def problems(patch: dict[str, Any], *, container: str = "dpe", elector: bool = True) -> list[str]:
    found = template_problems(
        patch, path="spec", clients=ClientProfile(), container=container, elector=elector
    )
    return list(found)


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        (dpe(command=["/bin/x"]), "containers[dpe].command would start the program without"),
        (dpe(args=["x"]), "containers[dpe].args would not reach the program"),
        (dpe(livenessProbe=None), "containers[dpe].livenessProbe cannot be set"),
        (dpe(readinessProbe={"exec": {}}), "containers[dpe].readinessProbe cannot be set"),
        (dpe(lifecycle={"preStop": {}}), "containers[dpe].lifecycle cannot be set"),
        (dpe(env=None), "containers[dpe].env is null"),
        (dpe(volumeMounts=None), "containers[dpe].volumeMounts is null"),
        (
            dpe(volumeMounts=[{"mountPath": "/dpe-elector/", "name": "x"}]),
            "volumeMounts[/dpe-elector/] is the operator's own",
        ),
        ({"spec": {"volumes": None}}, "spec.volumes is null"),
        ({"spec": {"initContainers": None}}, "spec.initContainers is null"),
        (
            {"spec": {"initContainers": [{"name": "dpe-elector", "$patch": "delete"}]}},
            "initContainers[dpe-elector] brings the elector",
        ),
        (
            {"spec": {"volumes": [{"name": "dpe-elector", "emptyDir": {}}]}},
            "volumes[dpe-elector] is the operator's own",
        ),
        (
            {"spec": {"terminationGracePeriodSeconds": 5}},
            "terminationGracePeriodSeconds would not reach the elector",
        ),
        ({"spec": {"shareProcessNamespace": True}}, "must be process 1"),
        (dpe(resources={"limits": {"cpu": "1"}}), "a slowed-down elector loses its Lease"),
        (dpe(readinessProbe="often"), "is text: write an object"),
    ],
)
def test_a_patch_that_takes_the_elector_away_is_refused(patch: dict[str, Any], said: str) -> None:
    [problem] = problems(patch)

    assert said in problem
    assert problem.startswith("spec.podTemplate")


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"priorityClassName": "studio", "containers": [{"name": "log", "image": "x"}]}},
        {"spec": {"initContainers": [{"name": "dpe-elector", "resources": {"limits": {}}}]}},
        {"spec": {"volumes": [{"name": "scratch", "emptyDir": {}}]}},
        dpe(securityContext={"readOnlyRootFilesystem": False}),
        dpe(resources={"limits": {"memory": "8Gi"}}),
    ],
)
def test_all_else_may_be_patched(patch: dict[str, Any]) -> None:
    assert problems(patch) == []


def test_without_an_elector_these_are_the_owner_s_own_business() -> None:
    assert problems(dpe(command=["/bin/x"], readinessProbe=None), elector=False) == []
