# SPDX-License-Identifier: Apache-2.0
"""Bad input about the databases of a site, refused by the API server or by the operator."""

from __future__ import annotations

from typing import Any, Final

from tests.support.bad_input_row import ABSENT, CLUSTER, SERVER, BadInput, Resource, changed

_WHERE: Final = "spec.databases.core"
_SHARED: Final = {"engine": "SQLServer", "secretRef": {"name": "dpe-core"}}
_A: Final = {"name": "a", "secretRef": {"name": "core-a"}}
_B: Final = {"name": "b", "secretRef": {"name": "core-b"}}
_TWO: Final = {"mode": "Independent", "engine": "SQLServer", "members": [_A, _B]}
_EXTERNAL: Final = {"host": "dpe2.studio.example"}


def _core(
    name: str, core: dict[str, Any], field: str, message: str, cure: dict[str, Any]
) -> BadInput:
    cures = {f"{_WHERE}.{key}": value for key, value in cure.items()}
    return BadInput(name, CLUSTER, {_WHERE: core}, f"{_WHERE}.{field}", message, cures)


_CORE: Final = [
    _core(
        "shared-core-without-secret",
        {"engine": "SQLServer"},
        "secretRef",
        "mode is Shared and there is no secretRef: name the Secret that leads both servers to the "
        "one core database, or write mode: Independent with members",
        {"secretRef": {"name": "dpe-core"}},
    ),
    _core(
        "shared-core-with-members",
        {**_SHARED, "members": [_A, _B]},
        "members",
        "mode is Shared, so members are not used: remove members, or write mode: Independent",
        {"members": ABSENT},
    ),
    _core(
        "independent-cores-with-one-secret",
        {**_TWO, "secretRef": {"name": "dpe-core"}},
        "secretRef",
        "mode is Independent, so secretRef dpe-core is not used: write it in members, one for each "
        "server, or mode: Shared",
        {"secretRef": ABSENT},
    ),
    _core(
        "independent-cores-without-members",
        {"mode": "Independent", "engine": "SQLServer"},
        "members",
        "mode is Independent and there are no members: name the Secret of each server",
        {"members": [_A, _B]},
    ),
    _core(
        "independent-cores-in-one-secret",
        {**_TWO, "members": [_A, {"name": "b", "secretRef": {"name": "core-a"}}]},
        "members",
        "both members have Secret core-a, which makes one core database of two: write two Secrets, "
        "or mode: Shared",
        {"members.1.secretRef.name": "core-b"},
    ),
    _core(
        "independent-cores-for-all",
        {**_TWO, "deliverTo": ["Servers", "Workflow"]},
        "deliverTo",
        "mode is Independent, so there is no one core database for other components: write "
        "deliverTo: [Servers], or mode: Shared",
        {"deliverTo": ["Servers"]},
    ),
]
_MEMBERS: Final = [
    _core(
        "core-of-a-server-that-is-not-there",
        {**_TWO, "members": [_A, {**_B, "name": "c"}]},
        "members",
        "databases.core.members names c, which is no server in the cluster: write the name of an "
        "entry of server.members that has no external",
        {"members.1.name": "b"},
    ),
    BadInput(
        "core-of-a-server-outside",
        changed(CLUSTER, {"spec.server.members.1.external": _EXTERNAL}),
        {_WHERE: _TWO},
        f"{_WHERE}.members",
        "databases.core.members names b, which is no server in the cluster: write the name of an "
        "entry of server.members that has no external",
        {f"{_WHERE}.members.1": ABSENT},
    ),
    _core(
        "server-without-a-core-of-its-own",
        {**_TWO, "members": [_A]},
        "members",
        "server b has no core database: write the Secret of its own into databases.core.members, "
        "or mode: Shared",
        {"members.1": _B},
    ),
]


def _content(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "engine": "PostgreSQL", "secretRef": {"name": name}, **fields}


def _operator(name: str, changes: Resource, message: str, cure: Resource) -> BadInput:
    return BadInput(
        name, CLUSTER, changes, "", message, cure, refused_by="operator", reason="NotAllowed"
    )


_ONE: Final = "spec.databases.content[one]"
_OTHER: Final = "spec.databases.content[other]"
_BESIDE: Final = "write folders beside each other"
_OPERATOR: Final = [
    _operator(
        "database-in-the-variable-of-the-address",
        {
            "spec.clients.serviceRootEnv": "DPE_URL",
            _WHERE: {**_SHARED, "env": [{"name": "DPE_URL", "key": "uri"}]},
        },
        "spec.databases.core.env sets DPE_URL, which the operator sets to the balancer's address "
        "https://radio-balancer.NAMESPACE.svc: remove it, or write another name in "
        "clients.serviceRootEnv of the DpeCluster",
        {f"{_WHERE}.env.0.name": "CORE"},
    ),
    _operator(
        "two-databases-in-one-variable",
        {
            "spec.databases.content": [
                _content("one", env=[{"name": "DB", "key": "uri"}]),
                _content("other", env=[{"name": "DB", "key": "uri"}]),
            ]
        },
        f"{_ONE}.env and {_OTHER}.env both set DB in the servers: write two names",
        {"spec.databases.content.1.deliverTo": ["Processors"]},
    ),
    _operator(
        "two-databases-in-one-folder",
        {
            "spec.databases.content": [
                _content("one", mountPath="/etc/dpe"),
                _content("other", mountPath="/etc/dpe/other"),
            ]
        },
        f"{_OTHER}.mountPath is /etc/dpe/other and {_ONE}.mountPath is /etc/dpe, so one would hide "
        f"the other in the servers: {_BESIDE}",
        {"spec.databases.content.0.mountPath": "/etc/dpe/one"},
    ),
    _operator(
        "database-in-a-folder-that-all-need",
        {"spec.databases.content": [_content("one", mountPath="/tmp/")]},
        f"{_ONE}.mountPath is /tmp/, which every pod needs for itself: write a folder of its own, "
        "such as /etc/dpe/database",
        {"spec.databases.content.0.mountPath": "/etc/dpe/database"},
    ),
    _operator(
        "shared-volume-inside-a-database",
        {
            "spec.sharedVolumes": [{"name": "temp", "mountPath": "/db/temp", "claimName": "temp"}],
            "spec.databases.content": [_content("one", mountPath="/db")],
        },
        f"{_ONE}.mountPath is /db, a folder of read-only files in which spec.sharedVolumes[temp] "
        f"(mountPath /db/temp) has no place: {_BESIDE}",
        {"spec.databases.content.0.mountPath": "/db/one"},
    ),
    _operator(
        "database-where-the-par-files-are",
        {
            "spec.parFiles": {"master": {"claimName": "par"}},
            "spec.databases.content": [_content("one", mountPath="/par/master")],
        },
        f"{_ONE}.mountPath is /par/master, a folder of read-only files in which a folder of "
        f"spec.parFiles (mountPath /par/master) has no place: {_BESIDE}",
        {"spec.databases.content.0.mountPath": "/db/one"},
    ),
    _operator(
        "database-inside-a-read-only-volume",
        {
            "spec.server.volumes": [{"name": "x", "mountPath": "/x", "secretName": "licence"}],
            "spec.databases.content": [_content("one", mountPath="/x/one")],
        },
        f"{_ONE}.mountPath is /x/one, which has no place in spec.server.volumes[x] (mountPath /x), "
        "as that is read-only: write another folder",
        {"spec.databases.content.0.mountPath": "/db/one"},
    ),
    _operator(
        "database-in-a-variable-of-the-elector",
        {
            "spec.databases.content": [
                _content("one", env=[{"name": "DPE_API_SERVER", "key": "uri"}])
            ]
        },
        f"{_ONE}.env sets DPE_API_SERVER, which the operator uses itself in workflow components: "
        "write another name, or take Workflow out of deliverTo",
        {"spec.databases.content.0.deliverTo": ["Servers"]},
    ),
    _operator(
        "database-over-a-folder-of-the-operator",
        {"spec.databases.content": [_content("one", mountPath="/dpe-elector/")]},
        f"{_ONE}.mountPath is /dpe-elector/, which hides what the operator puts into pods: write a "
        "folder of its own, such as /etc/dpe/database",
        {"spec.databases.content.0.mountPath": "/etc/dpe/database"},
    ),
    _operator(
        "database-in-the-memory-of-a-watcher",
        {
            "spec.databases.content": [_content("one", mountPath="/var/lib/dpe")],
            "spec.workflow.folderWatchers": [
                {
                    "name": "ingest",
                    "mode": "Standby",
                    "image": "watcher:1",
                    "command": ["watch"],
                    "memory": {"mountPath": "/var/lib/dpe/memory", "claimName": "memory"},
                }
            ],
        },
        "spec.workflow.folderWatchers[ingest].memory.mountPath is /var/lib/dpe/memory, and volume "
        "dpe-database-content-one is mounted at /var/lib/dpe: the two get into each other's way; "
        "write another folder for one of them",
        {"spec.databases.content.0.mountPath": "/etc/dpe/one"},
    ),
    _operator(
        "workflow-volume-inside-a-database",
        {
            "spec.databases.content": [_content("one", mountPath="/db")],
            "spec.workflow.workers": [
                {
                    "name": "w",
                    "mode": "Concurrent",
                    "image": "worker:1",
                    "volumes": [{"name": "x", "mountPath": "/db/x", "emptyDir": {}}],
                }
            ],
        },
        f"{_ONE}.mountPath is /db, a folder of read-only files in which "
        f"spec.workflow.workers[w].volumes[x] (mountPath /db/x) has no place: {_BESIDE}",
        {"spec.databases.content.0.mountPath": "/db/one"},
    ),
    _operator(
        "volume-of-a-processor-inside-a-database",
        {
            "spec.processors.0.volumes": [{"name": "x", "mountPath": "/db/x", "emptyDir": {}}],
            "spec.databases.content": [_content("one", mountPath="/db", deliverTo=["Processors"])],
        },
        f"{_ONE}.mountPath is /db, a folder of read-only files in which "
        f"spec.processors[audio].volumes[x] (mountPath /db/x) has no place: {_BESIDE}",
        {"spec.databases.content.0.deliverTo": ["Servers"]},
    ),
]

_DELIVERED: Final = {"name": "core", "secretRef": {"name": "dpe-core"}}
_PAIR: Final = [
    BadInput(
        "database-of-a-pair-with-two-sources",
        SERVER,
        {"spec.databases": [{**_DELIVERED, "members": [_A]}]},
        "spec.databases[0]",
        "database core must have exactly one source: write secretRef, or members with a Secret for "
        "each server",
        {"spec.databases.0.members": ABSENT},
    ),
    BadInput(
        "database-of-a-pair-in-the-variable-of-the-address",
        SERVER,
        {"spec.databases": [{**_DELIVERED, "env": [{"name": "DPE_SERVICE_ROOT", "key": "uri"}]}]},
        "",
        "spec.databases[core].env sets DPE_SERVICE_ROOT, which the operator sets to the balancer's "
        "address https://archive-balancer.NAMESPACE.svc: remove it, or write another name in "
        "clients.serviceRootEnv of the DpeCluster",
        {"spec.databases.0.env.0.name": "CORE"},
        refused_by="operator",
        reason="NotAllowed",
    ),
]

DATABASE_ROWS: Final = [*_CORE, *_MEMBERS, *_OPERATOR, *_PAIR]
