# SPDX-License-Identifier: Apache-2.0
"""Bad input about names, farms, members, environment and volumes, refused by the API server."""

from __future__ import annotations

from typing import Final

from tests.support.bad_input_row import ABSENT, CLUSTER, FARM, SERVER, BadInput, Resource, changed

_OUTSIDE: Final = [
    {"name": "a", "external": {"host": "dpe1.studio.example"}},
    {"name": "b", "external": {"host": "dpe2.studio.example"}},
]
_NFS: Final = {
    "name": "sounds",
    "mountPath": "/sounds",
    "nfs": {"server": "nas", "path": "/export"},
}
_CLAIM: Final = {"name": "sounds", "mountPath": "/sounds", "claimName": "sounds"}
_ROOT_ENV: Final = [{"name": "DPE_SERVICE_ROOT", "value": "https://dpe1.studio.example"}]
_OTHER_ENV: Final = [{"name": "TZ", "value": "Europe/Berlin"}]


def _reserved(where: str, name: str = "DPE_SERVICE_ROOT") -> str:
    return (
        f"env {where} sets {name}, which the operator sets to the balancer's address so that no "
        "component talks to a single server: remove it"
    )


_RESERVED_SERVER: Final = (
    _reserved("of the servers") + ", or write another name in clients.serviceRootEnv"
)


def _name(name: str, longest: int, why: str) -> str:
    return (
        f"metadata.name is {name} ({len(name)} characters): write at most {longest} lower-case "
        f"letters, digits and dashes, beginning with a letter, because {why}"
    )


_NAMES = [
    BadInput(
        "cluster-name-too-long",
        CLUSTER,
        {"metadata.name": "r" * 31},
        "",
        _name("r" * 31, 30, "names of Services and farms are made from it"),
        {"metadata.name": "r" * 30},
    ),
    BadInput(
        "cluster-name-with-dot",
        CLUSTER,
        {"metadata.name": "radio.studio"},
        "",
        _name("radio.studio", 30, "names of Services and farms are made from it"),
        {"metadata.name": "radio-studio"},
    ),
    BadInput(
        "server-name-begins-with-digit",
        SERVER,
        {"metadata.name": "1archive"},
        "",
        _name("1archive", 30, "names of Services are made from it"),
        {"metadata.name": "archive1"},
    ),
    BadInput(
        "farm-name-too-long",
        FARM,
        {"metadata.name": "f" * 53},
        "",
        _name("f" * 53, 52, "the name of the Deployment is made from it"),
        {"metadata.name": "f" * 52},
    ),
]

_FARMS = [
    BadInput(
        "farm-in-cluster-below-two",
        CLUSTER,
        {"spec.processors.0.replicas": 1},
        "spec.processors[0].replicas",
        "replicas is 1, so one fault stops all audio jobs: write 2 or more, or allowSingleReplica: "
        "true if you accept that",
        {"spec.processors.0.allowSingleReplica": True},
    ),
    BadInput(
        "farm-below-two",
        FARM,
        {"spec.replicas": 0},
        "spec.replicas",
        "replicas is 0, so one fault stops all video jobs: write 2 or more, or allowSingleReplica: "
        "true if you accept that",
        {"spec.replicas": 2},
    ),
    BadInput(
        "farm-waiver-taken-away",
        changed(FARM, {"spec.replicas": 1, "spec.allowSingleReplica": True}),
        {"spec.allowSingleReplica": False},
        "spec.replicas",
        "replicas is 1, so one fault stops all video jobs: write 2 or more, or allowSingleReplica: "
        "true if you accept that",
        {"spec.replicas": 3},
        update=True,
    ),
    BadInput(
        "farm-type-changed",
        FARM,
        {"spec.type": "loudness"},
        "spec.type",
        "type cannot be changed from video to loudness: create a new ProcessorFarm and delete this "
        "one",
        {"spec.type": "video"},
        update=True,
    ),
    BadInput(
        "farm-cluster-changed",
        FARM,
        {"spec.clusterRef.name": "television"},
        "spec.clusterRef",
        "clusterRef cannot be changed from radio to television: delete this resource and create it "
        "anew for the other DpeCluster",
        {"spec.clusterRef.name": "radio"},
        update=True,
    ),
    BadInput(
        "farm-type-too-long",
        FARM,
        {"spec.type": "t" * 21},
        "spec.type",
        "Too long: may not be more than 20 bytes",
        {"spec.type": "t" * 20},
    ),
    BadInput(
        "two-farms-of-one-type",
        CLUSTER,
        {"spec.processors.1": {"type": "audio", "image": "other"}},
        "spec.processors[1]",
        'Duplicate value: {"type":"audio"}',
        {"spec.processors.1.type": "video"},
    ),
]

_MEMBERS = [
    BadInput(
        "server-cluster-added",
        SERVER,
        {"spec.clusterRef": {"name": "radio"}},
        "spec.clusterRef",
        "clusterRef cannot be changed from (none) to radio: delete this resource and create it "
        "anew for the other DpeCluster",
        {"spec.clusterRef": ABSENT},
        update=True,
    ),
    BadInput(
        "one-member",
        CLUSTER,
        {"spec.server.members.1": ABSENT},
        "spec.server.members",
        "members has 1 entries: write exactly two servers, which are one active and one hot "
        "standby",
        {"spec.server.members.1": {"name": "b"}},
    ),
    BadInput(
        "three-members",
        CLUSTER,
        {"spec.server.members.2": {"name": "c"}},
        "spec.server.members",
        "members has 3 entries: write exactly two servers, which are one active and one hot "
        "standby",
        {"spec.server.members.2": ABSENT},
    ),
    BadInput(
        "member-name-too-long",
        CLUSTER,
        {"spec.server.members.1.name": "m" * 21},
        "spec.server.members[1].name",
        "Too long: may not be more than 20 bytes",
        {"spec.server.members.1.name": "m" * 20},
    ),
    BadInput(
        "members-of-one-name",
        CLUSTER,
        {"spec.server.members.1.name": "a"},
        "spec.server.members[1]",
        'Duplicate value: {"name":"a"}',
        {"spec.server.members.1.name": "b"},
    ),
    BadInput(
        "member-inside-and-outside",
        CLUSTER,
        {
            "spec.server.members.1.external": {"host": "dpe2.studio.example"},
            "spec.server.members.1.image": "registry.example.com/dpe-server:2.14",
            "spec.server.members.1.env": _OTHER_ENV,
        },
        "spec.server.members[1]",
        "member b is external (dpe2.studio.example) and has settings of a pod: image env. Remove "
        "these, or remove external to run it in the cluster",
        {"spec.server.members.1.external": ABSENT},
    ),
    BadInput(
        "no-image",
        CLUSTER,
        {"spec.server.image": ABSENT, "spec.server.members.0": _OUTSIDE[0]},
        "spec.server.image",
        "member b runs in the cluster and has no image: write image for the pair or the member, or "
        "external.host for a machine outside",
        {"spec.server.members.1": _OUTSIDE[1]},
    ),
    BadInput(
        "one-machine-twice",
        CLUSTER,
        {
            "spec.server.members": [
                {"name": "a", "external": {"host": "dpe1.studio.example", "port": 443}},
                {"name": "b", "external": {"host": "dpe1.studio.example"}},
            ]
        },
        "spec.server.members",
        "both members are dpe1.studio.example:443: one server twice is no redundancy, write the "
        "second one",
        {"spec.server.members.1.external.port": 8443},
    ),
    BadInput(
        "one-host-name-twice",
        CLUSTER,
        {"spec.server.members.0.hostName": "dpe", "spec.server.members.1.hostName": "dpe"},
        "spec.server.members",
        "both members have hostName dpe: DPE tells computers apart by name, write two",
        {"spec.server.members.1.hostName": "dpe-b"},
    ),
]

_ENVIRONMENT = [
    BadInput(
        "address-set-by-hand-in-pair",
        CLUSTER,
        {"spec.server.env": _ROOT_ENV},
        "spec",
        _RESERVED_SERVER,
        {"spec.server.env": _OTHER_ENV},
    ),
    BadInput(
        "address-set-by-hand-in-member",
        CLUSTER,
        {"spec.server.members.0.env": _ROOT_ENV},
        "spec",
        _RESERVED_SERVER,
        {"spec.clients": {"serviceRootEnv": "DPE_BASE_URI"}},
    ),
    BadInput(
        "address-set-by-hand-in-processors",
        CLUSTER,
        {
            "spec.clients": {"serviceRootEnv": "DPE_BASE_URI"},
            "spec.processors.0.env": [{"name": "DPE_BASE_URI", "value": "https://dpe1"}],
        },
        "spec",
        _reserved("of processors audio", "DPE_BASE_URI"),
        {"spec.processors.0.env": ABSENT},
    ),
    BadInput(
        "address-set-by-hand-in-server",
        SERVER,
        {"spec.env": _ROOT_ENV},
        "spec",
        _RESERVED_SERVER,
        {"spec.env": ABSENT},
    ),
    BadInput(
        "address-set-by-hand-in-farm",
        FARM,
        {"spec.env": _ROOT_ENV},
        "spec",
        _reserved("of the farm"),
        {"spec.env": ABSENT},
    ),
    BadInput(
        "variable-from-two-places",
        CLUSTER,
        {
            "spec.server.env": [
                {
                    "name": "A",
                    "value": "1",
                    "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}},
                }
            ]
        },
        "spec.server.env[0]",
        "variable A has value and valueFrom: write only one of them",
        {"spec.server.env.0.value": ABSENT},
    ),
    BadInput(
        "variable-from-nowhere",
        CLUSTER,
        {"spec.server.env": [{"name": "A", "valueFrom": {}}]},
        "spec.server.env[0].valueFrom",
        "write exactly one of secretKeyRef, configMapKeyRef and fieldRef",
        {"spec.server.env.0.valueFrom.secretKeyRef": {"name": "dpe-core", "key": "uri"}},
    ),
    BadInput(
        "variables-from-two-places",
        CLUSTER,
        {"spec.server.envFrom": [{"secretRef": {"name": "a"}, "configMapRef": {"name": "b"}}]},
        "spec.server.envFrom[0]",
        "write exactly one of secretRef and configMapRef",
        {"spec.server.envFrom.0.secretRef": ABSENT},
    ),
]

_ONE_SOURCE = (
    "volume sounds must have exactly one source: write one of claimName, nfs, secretName, "
    "configMapName, emptyDir"
)
_VOLUMES = [
    BadInput(
        "volume-without-source",
        CLUSTER,
        {"spec.sharedVolumes": [{"name": "sounds", "mountPath": "/sounds"}]},
        "spec.sharedVolumes[0]",
        _ONE_SOURCE,
        {"spec.sharedVolumes.0.emptyDir": {}},
    ),
    BadInput(
        "volume-with-two-sources",
        CLUSTER,
        {"spec.server.volumes": [{**_NFS, "claimName": "sounds"}]},
        "spec.server.volumes[0]",
        _ONE_SOURCE,
        {"spec.server.volumes.0.nfs": ABSENT},
    ),
    BadInput(
        "shared-nfs-on-windows",
        CLUSTER,
        {"spec.sharedVolumes": [_NFS], "spec.processors.0.os": "windows"},
        "spec.sharedVolumes",
        "shared volume sounds is nfs, which Windows nodes cannot mount: write claimName with a "
        "claim of an SMB driver",
        {"spec.sharedVolumes.0": _CLAIM},
    ),
    BadInput(
        "nfs-on-windows",
        CLUSTER,
        {"spec.server.volumes": [_NFS], "spec.server.os": "windows"},
        "spec.server.volumes",
        "volume sounds is nfs, which Windows nodes cannot mount: write claimName with a claim of "
        "an SMB driver",
        {"spec.server.os": "linux"},
    ),
    BadInput(
        "member-nfs-on-windows",
        CLUSTER,
        {"spec.server.members.1.volumes": [_NFS], "spec.server.os": "windows"},
        "spec.server.members",
        "member b mounts nfs, which Windows nodes cannot: write claimName with a claim of an SMB "
        "driver",
        {"spec.server.members.1.volumes.0": _CLAIM},
    ),
]


def _one_path(name: str, base: Resource, path: str, where: str = "") -> BadInput:
    """A row with two volumes at one path; `where` in brackets, if `path` has a number."""
    twice = [{"name": key, "mountPath": "/data", "emptyDir": {}} for key in ("one", "two")]
    return BadInput(
        f"{name}-at-one-path",
        base,
        {path: twice},
        where or path,
        f"two of {path.rsplit('.', 1)[1]} have mountPath /data, and a pod takes one volume at a "
        "path: write another path for one of them",
        {f"{path}.1.mountPath": "/other"},
    )


_PATHS = [
    _one_path("shared-volumes", CLUSTER, "spec.sharedVolumes"),
    _one_path("server-volumes", CLUSTER, "spec.server.volumes"),
    _one_path(
        "member-volumes", CLUSTER, "spec.server.members.1.volumes", "spec.server.members[1].volumes"
    ),
    _one_path(
        "processor-volumes", CLUSTER, "spec.processors.0.volumes", "spec.processors[0].volumes"
    ),
    _one_path("shared-volumes-of-a-pair", SERVER, "spec.sharedVolumes"),
    _one_path("farm-volumes", FARM, "spec.volumes"),
]

SITE_ROWS: Final = [*_NAMES, *_FARMS, *_MEMBERS, *_ENVIRONMENT, *_VOLUMES, *_PATHS]
