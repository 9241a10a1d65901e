# SPDX-License-Identifier: Apache-2.0
"""Bad input that Kubernetes would refuse in the pods made of it, so that nothing could be made.

The API server refuses what its schema can say, the operator the rest.
"""

from __future__ import annotations

from typing import Final

from tests.support.bad_input_row import ABSENT, CLUSTER, FARM, SERVER, BadInput, Resource

_PAR: Final[Resource] = {
    "master": {"claimName": "par"},
    "redundant": [{"name": "nightly", "claimName": "par-copy"}],
    "sync": {"schedule": "0 3 * * *", "timeZone": "Europe/Berlin"},
}
_KEY: Final = (
    r"^$|^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$"
)
_VALUE: Final = r"^([a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?)?$"
_FOLDER: Final = (
    r"^(\.|\.{0,2}[^./\\][^/\\]*|\.{3}[^/\\]*)"
    r"([/\\](\.|\.{0,2}[^./\\][^/\\]*|\.{3}[^/\\]*)?)*$"
)
_SERVER: Final = "spec.server.tolerations"
_CLAIM: Final[Resource] = {"name": "sounds", "mountPath": "/sounds", "claimName": "sounds"}

_TOLERATIONS: Final = [
    BadInput(
        "toleration-with-a-value-that-is-not-compared",
        CLUSTER,
        {_SERVER: [{"key": "dedicated", "operator": "Exists", "value": "dpe"}]},
        f"{_SERVER}[0].value",
        "a toleration has operator Exists, which compares no value, and value dpe: remove value, "
        "or write operator: Equal",
        {f"{_SERVER}.0.value": ABSENT},
    ),
    BadInput(
        "toleration-of-a-taint-without-a-key",
        SERVER,
        {"spec.loadBalancer": {"tolerations": [{"operator": "Equal", "value": "dpe"}]}},
        "spec.loadBalancer.tolerations[0].operator",
        "a toleration has no key and no operator Exists: write key, or operator: Exists, which "
        "without a key puts up with every taint",
        {"spec.loadBalancer.tolerations.0.key": "dedicated"},
    ),
    BadInput(
        "toleration-of-nothing",
        FARM,
        {"spec.tolerations": [{"effect": "NoSchedule"}]},
        "spec.tolerations[0].operator",
        "a toleration has no key and no operator Exists: write key, or operator: Exists, which "
        "without a key puts up with every taint",
        {"spec.tolerations.0.operator": "Exists"},
    ),
    BadInput(
        "toleration-for-a-time-of-a-taint-that-does-not-evict",
        CLUSTER,
        {"spec.processors.0.tolerations": [{"operator": "Exists", "tolerationSeconds": 30}]},
        "spec.processors[0].tolerations[0].tolerationSeconds",
        "a toleration has tolerationSeconds 30 without effect NoExecute: write effect: NoExecute, "
        "for which alone it counts, or remove tolerationSeconds",
        {"spec.processors.0.tolerations.0.effect": "NoExecute"},
    ),
    BadInput(
        "toleration-with-a-key-that-no-taint-has",
        CLUSTER,
        {_SERVER: [{"key": "bad key!", "operator": "Exists"}]},
        f"{_SERVER}[0].key",
        f"should match '{_KEY}'",
        {f"{_SERVER}.0.key": "studio.example/dedicated"},
    ),
    BadInput(
        "toleration-with-a-value-that-no-taint-has",
        CLUSTER,
        {_SERVER: [{"key": "dedicated", "value": "DPE servers"}]},
        f"{_SERVER}[0].value",
        f"should match '{_VALUE}'",
        {f"{_SERVER}.0.value": "DPE.servers"},
    ),
]


def _sub_path(name: str, folder: str, cure: str) -> BadInput:
    return BadInput(
        f"sub-path-{name}",
        CLUSTER,
        {"spec.server.volumes": [{**_CLAIM, "subPath": folder}]},
        "spec.server.volumes[0].subPath",
        f"should match '{_FOLDER}'",
        {"spec.server.volumes.0.subPath": cure},
    )


_PATHS: Final = [
    _sub_path("out-of-the-volume", "../etc", "..etc/.d/..."),
    _sub_path("back-out-of-the-volume", "sounds/../../etc", "sounds//etc/"),
    _sub_path("ends-above", "sounds/..", "sounds/."),
    _sub_path("of-windows-out-of-the-volume", "sounds\\..\\..", "sounds\\news"),
    _sub_path("from-the-root", "/etc", "etc"),
]
_PREFIX: Final = BadInput(
    "variables-with-an-equals-sign",
    CLUSTER,
    {"spec.server.envFrom": [{"prefix": "DB=", "secretRef": {"name": "db"}}]},
    "spec.server.envFrom[0].prefix",
    "should match '^[ -<>-~]*$'",
    {"spec.server.envFrom.0.prefix": "DB_"},
)

POD_ROWS: Final = [*_TOLERATIONS, *_PATHS, _PREFIX]


def _row(
    name: str,
    base: Resource,
    path: str,
    value: Resource | list[Resource],
    message: str,
    cure: Resource | list[Resource],
    *,
    where: str = "",
) -> BadInput:
    """A row whose field at `path` is cured by another value; `where` as the message has it."""
    return BadInput(
        name,
        base,
        {path: value},
        "",
        f"{where or path}{message}",
        {path: cure},
        refused_by="operator",
        reason="NotAllowed",
        exists=[CLUSTER] if base is FARM else [],
    )


def _amounts(requests: Resource, **limits: str) -> Resource:
    return {"requests": requests, "limits": limits} if limits else {"requests": requests}


_GPU: Final = "nvidia.com/gpu"


def _devices(request: str | None, limit: str | None) -> Resource:
    found = {"requests": request, "limits": limit}
    return {key: {_GPU: amount} for key, amount in found.items() if amount is not None}


_RESOURCES: Final = [
    _row(
        "request-above-the-limit",
        CLUSTER,
        "spec.server.resources",
        _amounts({"memory": "8Gi"}, memory="4096Mi"),
        ".requests.memory is 8Gi, above the limit of 4096Mi: write a higher limit, or a smaller "
        "request",
        _amounts({"memory": "4Gi"}, memory="4096Mi"),
    ),
    _row(
        "request-of-the-copy-above-the-limit",
        CLUSTER,
        "spec.parFiles",
        {**_PAR, "sync": {**_PAR["sync"], "resources": _amounts({"memory": "2G"}, memory="1G")}},
        ".sync.resources.requests.memory is 2G, above the limit of 1G: write a higher limit, or a "
        "smaller request",
        {**_PAR, "sync": {**_PAR["sync"], "resources": _amounts({"memory": "1G"}, memory="1G")}},
    ),
    _row(
        "device-without-a-limit",
        FARM,
        "spec.resources",
        _devices("1", None),
        f".requests.{_GPU} is 1 without a limit, which Kubernetes wants here: write the same number "
        "in limits",
        _devices(None, "1"),
    ),
    _row(
        "device-with-two-numbers",
        CLUSTER,
        "spec.processors.0.resources",
        _devices("1", "2"),
        f".requests.{_GPU} is 1 and its limit 2, but they must be the same: write one number in "
        "both",
        _devices("2", "2"),
        where="spec.processors[audio].resources",
    ),
    _row(
        "half-a-device",
        FARM,
        "spec.resources",
        _devices(None, "500m"),
        f".limits.{_GPU} is 500m, but devices are counted whole: write a number such as 1",
        _devices(None, "1"),
    ),
    _row(
        "resource-that-nobody-knows",
        SERVER,
        "spec.loadBalancer.resources",
        _amounts({"ram": "2Gi"}),
        ".requests.ram is no resource that Kubernetes knows: write cpu, memory or "
        "ephemeral-storage, or a device with the domain of its vendor, such as nvidia.com/gpu",
        _amounts({"memory": "2Gi"}),
    ),
    _row(
        "less-than-nothing",
        SERVER,
        "spec.resources",
        _amounts({"cpu": "-1"}),
        ".requests.cpu is -1, which is below zero: write what is needed",
        _amounts({"cpu": 1}),
    ),
]


def _key(name: str, base: Resource, path: str, wrong: str, right: str, where: str = "") -> BadInput:
    message = (
        f" has the key {wrong!r}, which Kubernetes does not take: write at most 63 letters, "
        "digits, dashes, dots and underscores, with a letter or digit at both ends, and a domain "
        "and a slash in front if you like"
    )
    return _row(f"key-of-{name}", base, path, {wrong: "x"}, message, {right: "x"}, where=where)


_KEYS: Final = [
    _key("a-label", CLUSTER, "spec.server.podLabels", "bad key!", "good.key"),
    _key("a-label-of-a-farm", FARM, "spec.podLabels", "k" * 64, "k" * 63),
    _key(
        "a-node-label",
        CLUSTER,
        "spec.processors.0.nodeSelector",
        "Studio.example/disk",
        "studio.example/Disk",
        "spec.processors[audio].nodeSelector",
    ),
    _key(
        "a-node-label-of-a-member",
        SERVER,
        "spec.members.1.nodeSelector",
        "disk/",
        "disk",
        "spec.members[b].nodeSelector",
    ),
    _key("an-annotation", SERVER, "spec.podAnnotations", "a/b/c", "A/B"),
    _key(
        "an-annotation-of-the-service",
        SERVER,
        "spec.loadBalancer.service.annotations",
        "_pool",
        "metallb.io/address-pool",
    ),
]


def _field(path: str) -> list[Resource]:
    return [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": path}}}]


_FIELD_MESSAGE: Final = (
    "[NODE] names the field {}, which pods do not have for this: write one such as metadata.name, "
    "spec.nodeName, status.podIP or metadata.labels['x']"
)
_FIELDS: Final = [
    _row(
        "field-of-a-pod-that-there-is-not",
        CLUSTER,
        "spec.processors.0.env",
        _field("metadata.nodeName"),
        _FIELD_MESSAGE.format("metadata.nodeName"),
        _field("spec.nodeName"),
        where="spec.processors[audio].env",
    ),
    _row(
        "field-of-a-pod-for-a-member",
        SERVER,
        "spec.members.1.env",
        _field("metadata.labels"),
        _FIELD_MESSAGE.format("metadata.labels"),
        _field("metadata.labels['studio.example/room']"),
        where="spec.members[b].env",
    ),
]
_SIZES: Final = [
    _row(
        "master-of-no-size",
        CLUSTER,
        "spec.parFiles",
        {**_PAR, "master": {"size": 0}},
        ".master.size is 0: a claim has a size above zero, such as 2Gi",
        {**_PAR, "master": {"size": "2097152Ki"}},
    ),
    _row(
        "folder-of-less-than-no-size",
        FARM,
        "spec.volumes",
        [{"name": "cache", "mountPath": "/cache", "emptyDir": {"sizeLimit": "-1Gi"}}],
        "[cache].emptyDir.sizeLimit is -1Gi, which is below zero: write what it may hold",
        [{"name": "cache", "mountPath": "/cache", "emptyDir": {"sizeLimit": "1Gi"}}],
    ),
]

_ADMINISTRATOR: Final[Resource] = {"windowsOptions": {"runAsUserName": "ContainerAdministrator"}}
_AS_ROOT: Final[Resource] = {**_ADMINISTRATOR, "runAsNonRoot": False}


def _administrator(
    name: str, base: Resource, container: str, wrong: Resource, cure: Resource
) -> BadInput:
    path = "spec.server" if base is CLUSTER else "spec"
    return BadInput(
        f"administrator-{name}",
        base,
        {f"{path}.os": "windows", f"{path}.podTemplate": {"spec": wrong}},
        "",
        f"{path}.podTemplate makes the container {container} run as ContainerAdministrator while "
        "runAsNonRoot is true, which Windows nodes refuse to start: write runAsNonRoot: false "
        "beside windowsOptions",
        {f"{path}.podTemplate": {"spec": cure}},
        refused_by="operator",
        reason="NotAllowed",
        exists=[CLUSTER] if base is FARM else [],
    )


def _contained(name: str, security: Resource) -> Resource:
    return {"containers": [{"name": name, "image": "x", "securityContext": security}]}


_ADMINISTRATORS: Final = [
    _administrator(
        "of-the-pods",
        CLUSTER,
        "dpe",
        {"securityContext": _ADMINISTRATOR},
        {"securityContext": _AS_ROOT},
    ),
    _administrator(
        "of-a-side-car",
        FARM,
        "log",
        _contained("log", _ADMINISTRATOR),
        _contained("log", _AS_ROOT),
    ),
]

POD_OPERATOR_ROWS: Final = [*_RESOURCES, *_KEYS, *_FIELDS, *_SIZES, *_ADMINISTRATORS]
