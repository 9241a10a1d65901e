# SPDX-License-Identifier: Apache-2.0
"""Bad input that the operator refuses: what needs other objects, or a look into free-form fields.

`NAMESPACE` in a message stands for the namespace of the test. The condition's message ends with
what happens meanwhile, which is not part of the row.
"""

from __future__ import annotations

from typing import Final

from tests.support.bad_input_row import ABSENT, CLUSTER, FARM, SERVER, BadInput, Resource, changed

_ROOT: Final = "https://radio-balancer.NAMESPACE.svc"
_EXTERNAL: Final = {"host": "dpe2.studio.example"}


def _single(where: str, host: str) -> str:
    return (
        f"{where} names {host}, one single server, and would not follow a fail-over; "
        f"write the balancer's address {_ROOT}, which every component is also given by itself"
    )


def _row(
    name: str,
    base: Resource,
    changes: dict[str, object],
    message: str,
    cure: dict[str, object],
    *,
    reason: str = "NotAllowed",
    exists: list[Resource] | None = None,
) -> BadInput:
    return BadInput(
        name,
        base,
        changes,
        "",
        message,
        cure,
        refused_by="operator",
        reason=reason,
        exists=exists or [],
    )


_URL: Final = "https://radio-member-a.studio.svc/DpeWebApplication"
_BY_NAME: Final = (
    "is the address 192.0.2.11, and certificates are checked by name: write "
    "spec.server.health.tls.serverName, the name in its certificate, or verify: None"
)
_ADDRESSES: Final = [
    _row(
        "certificate-of-an-address",
        CLUSTER,
        {"spec.server.members.1.external": {"host": "192.0.2.11"}},
        f"spec.server.members[b].external.host {_BY_NAME}",
        {"spec.server.health.tls": {"serverName": "dpe.studio.example"}},
    ),
    _row(
        "certificate-of-an-address-in-the-host-header",
        CLUSTER,
        {"spec.server.health.hostHeader": "192.0.2.11:8443"},
        f"spec.server.health.hostHeader {_BY_NAME}",
        {"spec.server.health.tls": {"verify": "None"}},
    ),
    _row(
        "member-service-in-env",
        CLUSTER,
        {"spec.processors.0.env": [{"name": "URL", "value": _URL}]},
        _single("spec.processors[audio].env[URL].value", "radio-member-a"),
        {"spec.processors.0.env": ABSENT},
    ),
    _row(
        "external-member-in-args",
        CLUSTER,
        {
            "spec.server.members.1.external": _EXTERNAL,
            "spec.processors.0.args": ["--server", "dpe2.studio.example:443"],
        },
        _single("spec.processors[audio].args[1]", "dpe2.studio.example"),
        {"spec.processors.0.args": ABSENT},
    ),
    _row(
        "member-service-in-a-farm-of-its-own",
        FARM,
        {"spec.command": ["run", "radio-member-b"]},
        _single("spec.command[1]", "radio-member-b"),
        {"spec.command": ABSENT},
        exists=[CLUSTER],
    ),
    _row(
        "member-service-in-a-pod-template",
        FARM,
        {
            "spec.podTemplate": {
                "spec": {"containers": [{"name": "dpe", "args": ["radio-member-a"]}]}
            }
        },
        _single("spec.podTemplate.spec.containers[dpe].args[0]", "radio-member-a"),
        {"spec.podTemplate": ABSENT},
        exists=[CLUSTER],
    ),
    _row(
        "the-default-variable-in-a-farm-of-a-site-with-another",
        CLUSTER,
        {
            "spec.clients.serviceRootEnv": "DPE_URL",
            "spec.processors.0.env": [{"name": "DPE_SERVICE_ROOT", "value": "x"}],
        },
        "spec.processors[audio].env sets DPE_SERVICE_ROOT, which is reserved for the balancer's "
        "address in every farm: remove it",
        {"spec.processors.0.env": ABSENT},
    ),
    _row(
        "windows-computers-of-one-name",
        SERVER,
        {"metadata.name": "station", "spec.os": "windows"},
        "spec.members: both computers would be called station-member- (Windows cuts names at 15 "
        "characters), and DPE keys licences and local parameter files by that name: write two "
        "different hostName",
        {
            "spec.members": [
                {"name": "a", "hostName": "dpe-a"},
                {"name": "b", "hostName": "dpe-b"},
            ]
        },
    ),
    _row(
        "variable-reserved-by-another-object",
        FARM,
        {"spec.env": [{"name": "DPE_URL", "value": "https://dpe.studio.example"}]},
        "spec.env sets DPE_URL, which the operator sets to the balancer's address "
        f"{_ROOT}: remove it, or write another name in clients.serviceRootEnv of the DpeCluster",
        {"spec.env": ABSENT},
        exists=[changed(CLUSTER, {"spec.clients.serviceRootEnv": "DPE_URL"})],
    ),
]

_CURE: Final = (
    ": delete or rename that object if it is not needed, or give this resource another name"
)
_NAMES: Final = [
    _row(
        "name-of-a-stranger",
        CLUSTER,
        {},
        f"ConfigMap radio-client-profile is there already and was not made by this resource{_CURE}",
        {"metadata.name": "tv"},
        reason="NameConflict",
        exists=[
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "radio-client-profile"},
                "data": {"a": "b"},
            }
        ],
    ),
    _row(
        "farm-name-of-another-team",
        CLUSTER,
        {},
        f"ProcessorFarm radio-audio is there already and was not made by this resource{_CURE}",
        {"spec.processors": []},
        reason="NameConflict",
        exists=[changed(FARM, {"metadata.name": "radio-audio", "spec.type": "audio"})],
    ),
    _row(
        "two-resources-one-deployment",
        changed(SERVER, {"metadata.name": "radio"}),
        {"spec.members.1.name": "processor"},
        f"Deployment radio-member-processor belongs to ProcessorFarm radio-member{_CURE}",
        {"spec.members.1.name": "b"},
        reason="NameConflict",
        exists=[
            changed(CLUSTER, {"metadata.name": "tv"}),
            changed(FARM, {"metadata.name": "radio-member", "spec.clusterRef.name": "tv"}),
        ],
    ),
]

_BALANCER: Final = "spec.server.loadBalancer.podTemplate"


def _template(name: str, path: str, patch: Resource, message: str, where: str = "") -> BadInput:
    return _row(name, CLUSTER, {path: patch}, f"{where or path}{message}", {path: ABSENT})


_TEMPLATES: Final = [
    _template(
        "elector-beside-others",
        _BALANCER,
        {"spec": {"shareProcessNamespace": True}},
        ".spec.shareProcessNamespace is true, but the elector must be process 1 of its container "
        "to stop everything in it: leave it out",
    ),
    _template(
        "elector-among-the-hosts-processes",
        _BALANCER,
        {"spec": {"hostPID": True}},
        ".spec.hostPID is true, but the elector must be process 1 of its container to stop "
        "everything in it: leave it out",
    ),
    _template(
        "cpu-limit-where-an-elector-runs",
        _BALANCER,
        {"spec": {"containers": [{"name": "balancer", "resources": {"limits": {"cpu": "1"}}}]}},
        ".spec.containers[balancer].resources.limits.cpu is 1, but a slowed-down elector loses its "
        "Lease: write a CPU request instead",
    ),
    _template(
        "label-of-the-operator",
        "spec.server.podTemplate",
        {"metadata": {"labels": {"dpe.dev/member": "c"}}},
        ".metadata.labels: dpe.dev/member is the operator's own: take another label",
    ),
    _template(
        "template-of-another-shape",
        "spec.processors.0.podTemplate",
        {"spec": {"containers": "dpe"}},
        ".podTemplate.spec.containers is text: write a list there",
        "spec.processors[audio]",
    ),
    _template(
        "variables-of-a-pod-template-as-an-object",
        "spec.processors.0.podTemplate",
        {"spec": {"containers": [{"name": "dpe", "env": {"DB_PASSWORD": "Zq9Secret"}}]}},
        ".podTemplate.spec.containers[dpe].env is an object: write a list there",
        "spec.processors[audio]",
    ),
    _template(
        "number-as-a-variable-of-a-pod-template",
        "spec.processors.0.podTemplate",
        {"spec": {"containers": [{"name": "dpe", "env": [{"name": "PIN", "value": 735551}]}]}},
        ".podTemplate.spec.containers[dpe].env[PIN].value is a number: write text there, in quotes",
        "spec.processors[audio]",
    ),
    _template(
        "reserved-variable-in-a-pod-template",
        "spec.processors.0.podTemplate",
        {
            "spec": {
                "containers": [{"name": "dpe", "env": [{"name": "DPE_SERVICE_ROOT", "value": "x"}]}]
            }
        },
        ".podTemplate.spec.containers[dpe].env sets DPE_SERVICE_ROOT, which the operator sets to "
        "the balancer's address: leave it out, or choose another name in clients.serviceRootEnv",
        "spec.processors[audio]",
    ),
]

OPERATOR_ROWS: Final = [*_ADDRESSES, *_NAMES, *_TEMPLATES]
