# SPDX-License-Identifier: Apache-2.0
"""Bad input about PAR files, refused by the API server."""

from __future__ import annotations

from typing import Final

from tests.support.bad_input_row import ABSENT, CLUSTER, BadInput, Resource, changed

PAR_STORE: Final[Resource] = {
    "apiVersion": "dpe.dev/v1alpha1",
    "kind": "ParStore",
    "metadata": {"name": "radio"},
    "spec": {
        "clusterRef": {"name": "radio"},
        "master": {"claimName": "par-master"},
        "redundant": [{"name": "nightly", "claimName": "par-redundant"}],
        "sync": {"schedule": "0 3 * * *", "timeZone": "Europe/Berlin"},
    },
}
_NFS: Final = {"server": "nas", "path": "/export/par"}
_KEY: Final = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Vendor\\Par"
_ONE_SOURCE: Final = (
    "write exactly one of claimName (an existing claim), size (a claim that is made) and nfs"
)
_SUB_PATH: Final = (
    'subPath is "{}": write the path of a folder inside the volume, no part of it beginning with '
    "a dot"
)
_ELSEWHERE: Final = (
    "mountPath, deliverTo, readOnlyFor and env of registry values have no effect in a ParStore of "
    "its own, because its DpeCluster owns the pods: remove them, and write them in parFiles of "
    "the DpeCluster instead"
)


def _registry(**value: object) -> Resource:
    return {"keys": [{"path": _KEY, "values": [{"name": "Master", **value}]}]}


def _variables(count: int) -> Resource:
    """A registry that gives so many values as variables, the first as one of the servers' own."""
    names = ["A0", *(f"PAR_{number}" for number in range(count))][: count + 1]
    values = [{"name": name, "value": "x", "env": name} for name in names]
    paths = (_KEY, f"{_KEY}\\More")
    return {
        "keys": [
            {"path": path, "values": part}
            for path, part in zip(paths, (values[:15], values[15:]), strict=True)
        ]
    }


def _row(
    name: str,
    changes: dict[str, object],
    where: str,
    message: str,
    cure: dict[str, object],
    *,
    update: bool = False,
) -> BadInput:
    return BadInput(name, PAR_STORE, changes, where, message, cure, update=update)


_LOCATIONS: Final = [
    _row(
        "par-name-too-long",
        {"metadata.name": "p" * 41},
        "",
        f"metadata.name is {'p' * 41} (41 characters): write at most 40 lower-case letters, digits "
        "and dashes, beginning with a letter, because names of the CronJob, its Jobs and the "
        "claims are made from it",
        {"metadata.name": "p" * 40},
    ),
    _row(
        "par-cluster-ref-changed",
        {"spec.clusterRef.name": "other"},
        "spec.clusterRef",
        "clusterRef cannot be changed from radio to other: delete this resource and create it anew "
        "for the other DpeCluster",
        {"spec.clusterRef.name": "radio"},
        update=True,
    ),
    _row(
        "par-two-sources",
        {"spec.master.size": "2Gi"},
        "spec.master",
        _ONE_SOURCE,
        {"spec.master.claimName": ABSENT},
    ),
    _row(
        "par-no-source",
        {"spec.redundant.0.claimName": ABSENT},
        "spec.redundant[0]",
        _ONE_SOURCE,
        {"spec.redundant.0.nfs": _NFS},
    ),
    _row(
        "par-class-without-size",
        {"spec.master.storageClassName": "fast"},
        "spec.master.storageClassName",
        "storageClassName is fast and nothing is made from it: write size, or remove it",
        {"spec.master.storageClassName": ABSENT},
    ),
    _row(
        "par-same-claim",
        {"spec.redundant.0.claimName": "par-master"},
        "spec.redundant",
        "master and redundant location are both on claim par-master, so that its loss takes both: "
        "write another claim for the redundant location, best on other storage",
        {"spec.redundant.0.claimName": "par-redundant"},
    ),
    _row(
        "par-same-nfs-folder",
        {
            "spec.master": {"nfs": _NFS},
            "spec.redundant.0": {"name": "n", "nfs": {"server": "nas", "path": "/export"}},
        },
        "spec.redundant",
        "redundant location and master nas:/export/par are the same NFS folder, or one lies in the "
        "other: write a folder of another server, or at least another export",
        {"spec.redundant.0.nfs.server": "nas2"},
    ),
    *(
        _row(
            f"par-nfs-folder-{name}",
            {
                "spec.master": {"nfs": {"server": "nas", "path": master}},
                "spec.redundant.0": {"name": "n", "nfs": {"server": "nas", "path": redundant}},
            },
            "spec.redundant",
            f"redundant location and master nas:{master} are the same NFS folder, or one lies in "
            "the other: write a folder of another server, or at least another export",
            {"spec.master.nfs.path": "/export/par/", "spec.redundant.0.nfs.path": "/export/par2"},
        )
        for name, master, redundant in (
            ("below-the-root", "/", "/export/par"),
            ("above-the-master", "/export/par", "/"),
            ("with-a-slash-at-its-end", "/export/par/", "/export/par"),
            ("below-one-with-a-slash-at-its-end", "/export/", "/export/par/copy"),
        )
    ),
    _row(
        "par-no-sync",
        {"spec.sync": ABSENT},
        "spec.sync",
        "there is a redundant location nightly and nothing that copies to it: write sync with "
        "schedule and timeZone, or remove redundant",
        {"spec.redundant": ABSENT},
    ),
    _row(
        "par-no-redundant",
        {"spec.redundant": ABSENT},
        "spec.redundant",
        "there is a sync and no redundant location to copy to: write redundant, or remove sync",
        {"spec.sync": ABSENT},
    ),
    _row(
        "par-master-out-of-the-volume",
        {"spec.master.subPath": "../other"},
        "spec.master.subPath",
        _SUB_PATH.format("../other"),
        {"spec.master.subPath": "files/par"},
    ),
    _row(
        "par-redundant-in-the-copy-s-own-folder",
        {"spec.redundant.0.subPath": ".dpe-par/current"},
        "spec.redundant[0].subPath",
        _SUB_PATH.format(".dpe-par/current"),
        {"spec.redundant.0.subPath": "current"},
    ),
    _row(
        "par-mounts-without-pods",
        {"spec.master.mountPath": "/data/par"},
        "spec",
        _ELSEWHERE,
        {"spec.master.mountPath": ABSENT},
    ),
]

_SYNC: Final = [
    _row(
        "par-no-zone",
        {"spec.sync.timeZone": ABSENT},
        "spec.sync.timeZone",
        "schedule is 0 3 * * * and there is no timeZone: write the zone its times are meant in, "
        "such as timeZone: Europe/Berlin",
        {"spec.sync.timeZone": "UTC"},
    ),
    _row(
        "par-slowed-down",
        {"spec.sync.resources": {"limits": {"cpu": "500m"}}},
        "spec.sync.resources",
        "resources.limits.cpu is 500m: a run that is slowed down may lose its lock. Remove it; "
        "requests.cpu may be set",
        {"spec.sync.resources": {"requests": {"cpu": "500m"}}},
    ),
    _row(
        "par-run-time-too-short",
        {"spec.sync.maxRunTime": "1s"},
        "spec.sync.maxRunTime",
        'maxRunTime is "1s": write a time from 1m to 24h with its unit, such as 1h',
        {"spec.sync.maxRunTime": "10m"},
    ),
    _row(
        "par-quiet-period-without-unit",
        {"spec.sync.quietPeriod": "60"},
        "spec.sync.quietPeriod",
        'quietPeriod is "60": write a time from 0s to 1h with its unit, such as 60s',
        {"spec.sync.quietPeriod": "60s"},
    ),
    _row(
        "par-deletes-more-than-all",
        {"spec.sync.maxDeletions": "110%"},
        "spec.sync.maxDeletions",
        'maxDeletions is "110%": write a number of files such as 25, or a part of them up to 100%',
        {"spec.sync.maxDeletions": 25},
    ),
]

_REGISTRY: Final = [
    _row(
        "par-registry-key-abbreviated",
        {"spec.registry": {"keys": [{"path": "HKLM\\X", "values": [{"name": "", "value": "x"}]}]}},
        "spec.registry.keys[0].path",
        'path is "HKLM\\X": write it in full, such as HKEY_LOCAL_MACHINE\\SOFTWARE\\Vendor\\Product',
        {"spec.registry.keys.0.path": _KEY},
    ),
    _row(
        "par-registry-list-as-text",
        {"spec.registry": _registry(type="REG_MULTI_SZ", value="a")},
        "spec.registry.keys[0].values[0]",
        "value Master is REG_MULTI_SZ, a list of texts: write values, and not value",
        {"spec.registry": _registry(type="REG_MULTI_SZ", values=["a"])},
    ),
    _row(
        "par-registry-text-as-list",
        {"spec.registry": _registry(values=["a"])},
        "spec.registry.keys[0].values[0]",
        "value Master is REG_SZ, a single one: write value, and not values",
        {"spec.registry": _registry(value="a")},
    ),
    _row(
        "par-registry-number-too-large",
        {"spec.registry": _registry(type="REG_DWORD", value=2**32)},
        "spec.registry.keys[0].values[0].value",
        "value Master is REG_DWORD and no such number: write one from 0 to 4294967295, or with 0x "
        "in front one of up to 8 hexadecimal digits",
        {"spec.registry": _registry(type="REG_DWORD", value="0xffffffff")},
    ),
    _row(
        "par-registry-number-too-large-as-text",
        {"spec.registry": _registry(type="REG_DWORD", value="4294967296")},
        "spec.registry.keys[0].values[0].value",
        "value Master is REG_DWORD and no such number: write one from 0 to 4294967295, or with 0x "
        "in front one of up to 8 hexadecimal digits",
        {"spec.registry": _registry(type="REG_DWORD", value="4294967295")},
    ),
]

PAR_FILES: Final[Resource] = {
    key: value for key, value in PAR_STORE["spec"].items() if key != "clusterRef"
}
_WORKER: Final = {"name": "w", "mode": "Concurrent", "image": "registry.example.com/dpe:2.15"}
_SITE: Final = changed(CLUSTER, {"spec.parFiles": PAR_FILES})


def _refused(
    name: str, base: Resource, changes: dict[str, object], message: str, cure: dict[str, object]
) -> BadInput:
    """A row of the operator."""
    exists = [CLUSTER] if base is PAR_STORE else []
    return BadInput(
        name, base, changes, "", message, cure, refused_by="operator", reason="NotAllowed",
        exists=exists,
    )  # fmt: skip


_IN_SITE: Final = [
    BadInput(
        "par-registry-value-as-the-balancer-s-url",
        _SITE,
        {"spec.parFiles.registry": _registry(value="x", env="DPE_SERVICE_ROOT")},
        "spec.parFiles.registry.keys",
        "a registry value is given as DPE_SERVICE_ROOT, which the operator sets to the balancer's "
        "address: write another env",
        {"spec.parFiles.registry": _registry(value="x", env="PAR_MASTER")},
    ),
    _refused(
        "par-registry-value-as-the-site-s-own-url",
        changed(_SITE, {"spec.clients": {"serviceRootEnv": "DPE_URL"}}),
        {"spec.parFiles.registry": _registry(value="x", env="DPE_URL")},
        "spec.parFiles.registry gives a value as DPE_URL, which the operator sets to the balancer's"
        " address: write another env",
        {"spec.parFiles.registry": ABSENT},
    ),
    _refused(
        "par-registry-values-beyond-the-variables-of-a-server",
        changed(_SITE, {"spec.server.env": [{"name": f"A{n}", "value": "x"} for n in range(81)]}),
        {"spec.parFiles.registry": _variables(20)},
        "spec.parFiles.registry gives 20 values to the servers as variables, beside 81 of "
        "spec.server.env, and a server takes 100: write env for fewer values, or leave Servers out "
        "of spec.parFiles.deliverTo",
        {"spec.parFiles.registry": _variables(19)},
    ),
    _refused(
        "par-schedule-with-an-hour-that-is-none",
        _SITE,
        {"spec.parFiles.sync.schedule": "0 25 * * *"},
        "spec.parFiles.sync.schedule: '0 25 * * *' is no schedule (Bad hour): write five fields, "
        "minute hour day-of-month month day-of-week, such as 0 2 * * *",
        {"spec.parFiles.sync.schedule": "0 3 * * *"},
    ),
    _refused(
        "par-drive-letter-on-linux-nodes",
        _SITE,
        {
            "spec.parFiles.master.mountPath": "D:\\par",
            "spec.parFiles.deliverTo": ["Servers"],
        },
        "spec.parFiles.master.mountPath is D:\\par, but spec.server runs on Linux nodes: write a "
        "path that begins with a slash (Windows nodes take it for one on drive C:), or leave "
        "Servers out of spec.parFiles.deliverTo",
        {"spec.parFiles.master.mountPath": "/par"},
    ),
    _refused(
        "par-registry-on-linux-nodes-of-a-workflow-component",
        changed(
            _SITE,
            {
                "spec.server.os": "windows",
                "spec.processors": ABSENT,
                "spec.workflow": {"workers": [_WORKER]},
            },
        ),
        {"spec.parFiles.registry": {**_registry(value="x"), "mountPath": "C:\\reg"}},
        "spec.parFiles.registry.mountPath is C:\\reg, but spec.workflow.workers[w] runs on Linux "
        "nodes: write a path that begins with a slash (Windows nodes take it for one on drive C:), "
        "or leave Workflow out of spec.parFiles.deliverTo",
        {"spec.parFiles.deliverTo": ["Servers"]},
    ),
    _refused(
        "par-both-locations-at-one-path",
        _SITE,
        {"spec.parFiles.master.mountPath": "/par/redundant-nightly"},
        "spec.parFiles.redundant[nightly].mountPath is /par/redundant-nightly, and so is "
        "spec.parFiles.master.mountPath: write another path for one of them",
        {"spec.parFiles.master.mountPath": "/par"},
    ),
    _refused(
        "par-master-at-the-path-of-a-shared-volume",
        _SITE,
        {"spec.sharedVolumes": [{"name": "par", "mountPath": "/par/master", "emptyDir": {}}]},
        "spec.parFiles.master.mountPath is /par/master, and so is that of spec.sharedVolumes[par]:"
        " write another path for one of them, or remove that shared volume",
        {"spec.sharedVolumes": ABSENT},
    ),
    _refused(
        "par-nfs-on-windows-nodes",
        changed(_SITE, {"spec.processors.0.os": "windows"}),
        {"spec.parFiles.master": {"nfs": _NFS}},
        "spec.parFiles.master is nfs, which the Windows nodes of spec.processors[audio] cannot "
        "mount: write claimName with a claim of an SMB driver, or leave Processors out of "
        "spec.parFiles.deliverTo",
        {"spec.parFiles.deliverTo": ["Servers"]},
    ),
]
_ALONE: Final = [
    _refused(
        "par-sunday-is-0",
        PAR_STORE,
        {"spec.sync.schedule": "0 3 * * 7"},
        "spec.sync.schedule: '0 3 * * 7' has 7 as a day of the week, which Kubernetes' CronJob "
        "does not know: write 0 for Sunday",
        {"spec.sync.schedule": "0 3 * * 0"},
    ),
    _refused(
        "par-every-second-day-from-monday",
        PAR_STORE,
        {"spec.sync.schedule": "0 3 * * MON/2"},
        "spec.sync.schedule: '0 3 * * MON/2' has 'MON/2' as days of the week, which Kubernetes' "
        "CronJob ends with Saturday and cron with the Sunday after it: write a range such as 1-6/2",
        {"spec.sync.schedule": "0 3 * * 1-6/2"},
    ),
    _refused(
        "par-every-second-day-and-mondays",
        PAR_STORE,
        {"spec.sync.schedule": "0 3 */2 * MON"},
        "spec.sync.schedule: '0 3 */2 * MON' has '*/2' as days of the month and 'MON' as days of "
        "the week, and cron and Kubernetes' CronJob do not agree whether a day has to be in both: "
        "write * for one of them, or ranges such as 1-31/2, where one suffices",
        {"spec.sync.schedule": "0 3 1-31/2 * MON"},
    ),
    _refused(
        "par-unknown-zone",
        PAR_STORE,
        {"spec.sync.timeZone": "Europe/Nowhere"},
        "spec.sync.timeZone: 'Europe/Nowhere' is no time zone of the IANA list: write one such as "
        "Europe/Berlin or UTC",
        {"spec.sync.timeZone": "Europe/Vienna"},
    ),
    _refused(
        "par-claim-that-would-be-made-for-the-other-one",
        PAR_STORE,
        {
            "spec.master": {"size": "1Gi"},
            "spec.redundant.0.claimName": "radio-par-master",
        },
        "spec: master and redundant location are both on claim radio-par-master, so that its loss "
        "takes both: write another claim for the redundant location, best on other storage",
        {"spec.redundant.0.claimName": "par-redundant"},
    ),
    _refused(
        "par-registry-variable-twice",
        PAR_STORE,
        {"spec.registry": _registry(value="x", file="par.reg")},
        "spec.registry: file par.reg is there twice: write another name for one of them",
        {"spec.registry": _registry(value="x", file="master")},
    ),
]

PAR_ROWS: Final = [*_LOCATIONS, *_SYNC, *_REGISTRY, *_IN_SITE, *_ALONE]
