# SPDX-License-Identifier: Apache-2.0
"""What every kind of pod shares: environment, volumes, resources, where it may run.

A small typed part of a pod and one `podTemplate` patch for the rest: DPE is closed, so nobody can
know in advance what an image of it needs, and an inlined PodSpec would make each CRD 500 kB.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from dpe_operator.api.common import (
    ATOMIC_LIST,
    KEY_PATTERN,
    ApiModel,
    DataKey,
    DnsLabel,
    EnvName,
    LongText,
    ObjectName,
    Placement,
    Rule,
    list_map,
    one_at_a_path,
    server_pattern,
    stored,
)


def as_text(value: object) -> object:
    """Turn a whole number into text: YAML reads an unquoted 200 or 2 as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def int_or_text(pattern: str, max_length: int, **limits: int) -> dict[str, Any]:
    """Return the JSON schema of a field that takes a number too, such as `200` or `2`.

    `limits` are `minimum` and `maximum` of the number; the pattern is for the text.
    """
    return {
        **limits,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": pattern,
        "maxLength": max_length,
    }


MAX_ENV = 100
QUANTITY_PATTERN = (
    r"^[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[mkMGTPE]|[eE][+-]?[0-9]{1,3})?$"
)
Quantity = Annotated[
    str,
    BeforeValidator(as_text),
    StringConstraints(pattern=QUANTITY_PATTERN, max_length=40),
    WithJsonSchema(int_or_text(QUANTITY_PATTERN, 40)),
]
_LABEL_VALUE = r"^([a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?)?$"
LabelValue = Annotated[str, StringConstraints(pattern=_LABEL_VALUE, max_length=63)]
MountPath = Annotated[
    str, StringConstraints(pattern=r"^(/|[A-Za-z]:[\\/])[^\r\n]*$", max_length=512)
]
# Kubernetes refuses a part that is two dots. Patterns know no look-around: this is every other one.
_PART = r"(\.|\.{0,2}[^./\\][^/\\]*|\.{3}[^/\\]*)"
SubPath = Annotated[
    str,
    StringConstraints(pattern=r"^[^/\\]", max_length=512),
    Field(json_schema_extra=server_pattern(rf"^{_PART}([/\\]{_PART}?)*$")),
]


class KeyRef(ApiModel):
    """Names one entry of a Secret or ConfigMap."""

    name: ObjectName
    """Name of the Secret or ConfigMap, in the namespace of this resource."""
    key: DataKey
    """Entry that holds the value."""
    optional: bool | None = None
    """Whether the pod may start without it. Default: false, the pod waits until it exists."""


class FieldRef(ApiModel):
    """Names a field of the pod itself (downward API)."""

    field_path: Annotated[str, StringConstraints(max_length=256)]
    """The field, for example `metadata.name`, `spec.nodeName` or `status.podIP`."""


class EnvSource(ApiModel):
    """Where the value of an environment variable comes from; exactly one of the three."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.secretKeyRef) ? 1 : 0) + (has(self.configMapKeyRef) ? 1 : 0)"
            " + (has(self.fieldRef) ? 1 : 0) == 1",
            "write exactly one of secretKeyRef, configMapKeyRef and fieldRef",
        ),
    )

    secret_key_ref: KeyRef | None = None
    """An entry of a Secret: for passwords, licences, connection strings."""
    config_map_key_ref: KeyRef | None = None
    """An entry of a ConfigMap."""
    field_ref: FieldRef | None = None
    """A field of the pod, such as the name of the node it runs on."""


class EnvVar(ApiModel):
    """One environment variable."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.value) && has(self.valueFrom))",
            "variable %s has value and valueFrom: write only one of them",
            values=("self.name",),
        ),
    )

    name: EnvName
    """Name of the variable. The one that carries the balancer's URL (DPE_SERVICE_ROOT unless
    `clients.serviceRootEnv` says otherwise) is set by the operator and refused here."""
    value: LongText | None = None
    """The value as text. `$(OTHER)` is replaced by the variable OTHER of the same pod."""
    value_from: EnvSource | None = None
    """Takes the value from elsewhere. Write either this or `value`."""


class SourceRef(ApiModel):
    """Names a whole Secret or ConfigMap."""

    name: ObjectName
    """Name of the Secret or ConfigMap, in the namespace of this resource."""
    optional: bool | None = None
    """Whether the pod may start without it. Default: false."""


# What may stand in a variable's name: printable ASCII but the equals sign. Kubernetes before 1.34
# takes less, which it says itself.
_PREFIX_PATTERN = "^[ -<>-~]*$"


class EnvFrom(ApiModel):
    """Turns all entries of a Secret or ConfigMap into environment variables."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.secretRef) != has(self.configMapRef)",
            "write exactly one of secretRef and configMapRef",
        ),
    )

    prefix: (
        Annotated[
            str,
            StringConstraints(max_length=128),
            Field(json_schema_extra=server_pattern(_PREFIX_PATTERN)),
        ]
        | None
    ) = None
    """Put before the name of each entry, without an equals sign. Default: nothing."""
    secret_ref: SourceRef | None = None
    """The Secret. Write either this or `configMapRef`."""
    config_map_ref: SourceRef | None = None
    """The ConfigMap. Write either this or `secretRef`."""


class NfsSource(ApiModel):
    """A folder of an NFS server, mounted by the node."""

    server: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Host name or address of the NFS server, as the nodes resolve it."""
    path: Annotated[str, StringConstraints(pattern=r"^/[^\r\n]*$", max_length=512)]
    """Exported folder, beginning with a slash."""


class EmptyDir(ApiModel):
    """A folder that lives as long as the pod."""

    medium: Literal["", "Memory"] | None = None
    """`Memory` keeps it in RAM (it counts against the memory limit). Default: the node's disk."""
    size_limit: Quantity | None = None
    """The pod is evicted when the folder grows beyond this. Default: no limit."""


_VOLUME_SOURCES = ("claimName", "nfs", "secretName", "configMapName", "emptyDir")


class Volume(ApiModel):
    """A folder mounted into the container; exactly one source."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in _VOLUME_SOURCES) + " == 1",
            "volume %s must have exactly one source: write one of " + ", ".join(_VOLUME_SOURCES),
            values=("self.name",),
        ),
    )

    name: DnsLabel
    """Name of the volume, unique among the volumes of the pod."""
    mount_path: MountPath
    """Folder in the container, such as `/data/temp`, or `C:\\DPE\\Temp` on Windows nodes."""
    sub_path: SubPath | None = None
    """Folder inside the volume to mount instead of its root, no part of it `..`. Default: the
    root."""
    read_only: bool | None = None
    """Whether the container may only read. Default: false. Secrets and ConfigMaps are always
    read-only."""
    claim_name: ObjectName | None = None
    """A PersistentVolumeClaim. For a folder that several pods share (DPE's TempFolder) it must
    allow ReadWriteMany, or the second pod stays Pending."""
    nfs: NfsSource | None = None
    """A folder of an NFS server. Not possible on Windows nodes and in namespaces with the
    Pod Security level `restricted`: use a claim."""
    secret_name: ObjectName | None = None
    """A Secret, each entry a file: licences, certificates."""
    config_map_name: ObjectName | None = None
    """A ConfigMap, each entry a file."""
    empty_dir: EmptyDir | None = None
    """A folder that lives as long as the pod: caches, scratch space. Write `{}` for the
    defaults."""


_TAINT = "has(self.key) && self.key != ''"
_EXISTS = "has(self.operator) && self.operator == 'Exists'"


class Toleration(ApiModel):
    """Lets pods run on nodes with a matching taint."""

    # Kubernetes' own rules for the pods, which would be refused for ever
    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!({_EXISTS}) || !has(self.value) || self.value == ''",
            "a toleration has operator Exists, which compares no value, and value %s: remove "
            "value, or write operator: Equal",
            values=("self.value",),
            field=".value",
        ),
        Rule(
            f"({_TAINT}) || ({_EXISTS})",
            "a toleration has no key and no operator Exists: write key, or operator: Exists, which "
            "without a key puts up with every taint",
            field=".operator",
        ),
        Rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "a toleration has tolerationSeconds %s without effect NoExecute: write effect: "
            "NoExecute, for which alone it counts, or remove tolerationSeconds",
            values=("self.tolerationSeconds",),
            field=".tolerationSeconds",
        ),
    )

    key: (
        Annotated[
            str,
            StringConstraints(max_length=317),
            Field(json_schema_extra=server_pattern(f"^$|{KEY_PATTERN}")),
        ]
        | None
    ) = None
    """Key of the taint. Without it, with operator Exists, every taint matches."""
    operator: Literal["Exists", "Equal"] | None = None
    """Equal compares the value, Exists does not. Default: Equal."""
    value: (
        Annotated[
            str,
            StringConstraints(max_length=63),
            Field(json_schema_extra=server_pattern(_LABEL_VALUE)),
        ]
        | None
    ) = None
    """Value of the taint, with operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. Default: all effects."""
    toleration_seconds: int | None = Field(default=None, ge=0, le=86400)
    """For NoExecute: how long a running pod stays after the taint appears. Default: for ever."""


class Resources(ApiModel):
    """What one container asks for and may use, in Kubernetes' own units."""

    requests: dict[str, Quantity] | None = Field(default=None, max_length=16)
    """Set aside for the container: `cpu: 500m` is half a core, `memory: 2Gi`. Default:
    100m and 256Mi (Windows: 500m and 1Gi), fit for a trial and not for a station."""
    limits: dict[str, Quantity] | None = Field(default=None, max_length=16)
    """The most it may use. Above the memory limit the container is killed, above the CPU limit it
    is slowed down. Default: 1Gi of memory (Windows: 4Gi), none if you request memory; no CPU."""


_NFS_ON_WINDOWS = Rule(
    "self.os != 'windows' || !has(self.volumes) || !self.volumes.exists(v, has(v.nfs))",
    "volume %s is nfs, which Windows nodes cannot mount: write claimName with a claim of an SMB "
    "driver",
    values=("self.volumes.filter(v, has(v.nfs))[0].name",),
    field=".volumes",
)


class PodSettings(ApiModel):
    """What can be said about any pod that runs DPE software."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (_NFS_ON_WINDOWS, one_at_a_path("volumes"))

    os: Literal["linux", "windows"] = Field(default="linux", json_schema_extra=stored())
    """Operating system of the nodes these pods run on. DPE is Windows software: write `windows`
    for its own images, with Windows nodes in the cluster. `linux` is for ports, tools and the
    simulator."""
    command: (
        Annotated[list[LongText], Field(max_length=64, json_schema_extra=ATOMIC_LIST)] | None
    ) = None
    """Program to start, one list entry an argument, no shell. Default: the image's own."""
    args: Annotated[list[LongText], Field(max_length=128, json_schema_extra=ATOMIC_LIST)] | None = (
        None
    )
    """Arguments of the program. Default: the image's own."""
    env: list[EnvVar] = Field(default=[], max_length=MAX_ENV, json_schema_extra=list_map("name"))
    """Environment variables of the container, at most 100. The balancer's URL and the retry
    profile come on top by themselves."""
    env_from: list[EnvFrom] = Field(default=[], max_length=20, json_schema_extra=ATOMIC_LIST)
    """Secrets and ConfigMaps whose entries all become environment variables."""
    volumes: list[Volume] = Field(default=[], max_length=20, json_schema_extra=list_map("name"))
    """Folders mounted into the container, beside the `sharedVolumes` of the site: parameter (PAR)
    files, licences, caches."""
    resources: Resources | None = None
    """CPU and memory of the container."""
    node_selector: dict[str, LabelValue] = Field(default={}, max_length=20)
    """Run only on nodes with these labels. The operating system is added by the operator."""
    tolerations: list[Toleration] = Field(default=[], max_length=20, json_schema_extra=ATOMIC_LIST)
    """Taints of nodes to put up with, for example of nodes kept for DPE."""
    placement: Placement | None = None
    """How hard pods are kept apart. `Required`: never two on one node, a pod rather waits
    (Pending). `Preferred`: apart when possible; for clusters with fewer nodes than pods, at the
    price that one node may take both. Zones are always kept apart when possible. Default: the
    DpeCluster's choice, Required without one."""
    termination_grace_period_seconds: int | None = Field(default=None, ge=1, le=86400)
    """How many seconds a pod may take to stop before it is killed, so that a running job can end.
    Default: 60. Servers get 10 s more, to be taken out of use first."""
    service_account_name: ObjectName | None = None
    """Service account of the pods, when the image talks to Kubernetes or the registry needs it.
    Default: `default`, and no token is mounted."""
    pod_labels: dict[str, LabelValue] = Field(default={}, max_length=20)
    """More labels on the pods. Labels of the operator cannot be overwritten."""
    pod_annotations: dict[str, LongText] = Field(default={}, max_length=20)
    """More annotations on the pods, for example for log collectors."""
    pod_template: dict[str, Any] | None = Field(
        default=None, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}
    )
    """A patch laid over the pod template that the operator makes, for all it has no field for:
    `{metadata: ..., spec: ...}` as in a Deployment, merged like `kubectl patch` does (lists of
    containers, volumes and variables by name; null removes). The container of DPE is called
    `dpe`. A name that does not exist yet is added, so a side-car is one entry of
    `spec.containers`. Labels of the operator, and its ports with their names, stay. Change a
    resource that exists with `kubectl apply --server-side` or `kubectl replace` if there is a null
    in it: plain `apply` and `edit` leave nulls out."""


class ImagePullSecret(ApiModel):
    """Names a Secret with the log-in of an image registry."""

    name: ObjectName
    """Name of the Secret (type kubernetes.io/dockerconfigjson), in this namespace."""
