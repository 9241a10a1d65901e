# SPDX-License-Identifier: Apache-2.0
"""Merges the user's ``podTemplate`` patch into a pod template that the operator made.

The rules are those of ``kubectl patch`` (strategic merge), cut down to what pod templates need:

* Objects are merged key by key; ``null`` removes a key; any other value replaces.
* Lists of things with a name are merged by that name (``_POD_LISTS`` in the pod's spec,
  ``_CONTAINER_LISTS`` in containers, and nowhere else: a label may be called ``env`` too), in the
  order of the template, new entries at the end; ``{name: x, $patch: delete}`` removes an entry.
  Containers and ports are merged key by key; an entry of any other list is replaced as a whole, so
  that a volume changed from emptyDir to a claim does not end up with two sources.
* All other lists (tolerations, command, topologySpreadConstraints, ...) are replaced.
* The operator's own labels stay: they are what selectors find. So do its ports and their names:
  they are what probes and Services find.

What cannot be accepted is told by ``pod_template_problems`` before anything is built.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dpe_operator.api import constants
from dpe_operator.builders.context import Manifest

_PORT = "containerPort"
_NO_LISTS: Mapping[str, str] = {}
_POD_LISTS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
}
_CONTAINER_LISTS = {
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": _PORT,
}
_CONTAINERS = ("podTemplate.spec.containers", "podTemplate.spec.initContainers")
_DELETE = {"$patch": "delete"}
_OWN_LABELS = frozenset(
    {
        constants.LABEL_MANAGED_BY,
        constants.LABEL_NAME,
        constants.LABEL_COMPONENT,
        constants.LABEL_INSTANCE,
        constants.LABEL_PART_OF,
        constants.LABEL_OWNER_KIND,
        constants.LABEL_MEMBER,
        constants.LABEL_MODE,
    }
)


class PodTemplateError(ValueError):
    """A patch that does not have the shape of a pod template."""


def merge_pod_template(template: Manifest, patch: Mapping[str, Any] | None) -> Manifest:
    """Return ``template`` with ``patch`` laid over it; neither argument is changed.

    Raises PodTemplateError where the patch has another shape than a pod template (such as text
    where a list belongs). ``pod_template_problems`` finds all such places beforehand.
    """
    if not patch:
        return copy.deepcopy(template)
    merged = _merge_object(template, patch, "podTemplate")
    own = {k: v for k, v in template["metadata"]["labels"].items() if k in _OWN_LABELS}
    metadata = merged.setdefault("metadata", {})
    metadata["labels"] = {**metadata.get("labels", {}), **own}
    _keep_ports(template["spec"], _part(merged, "spec"))
    return merged


def _keep_ports(base: Mapping[str, Any], merged: Mapping[str, Any]) -> None:
    own = {container["name"]: container.get("ports") for container in base["containers"]}
    for container in merged.get("containers", ()):
        ports = own.get(container["name"])
        if ports:
            container["ports"] = _merge_list(container.get("ports", []), ports, _PORT, "ports")


def _merge_object(
    base: Mapping[str, Any],
    patch: Mapping[str, Any],
    path: str,
    lists: Mapping[str, str] = _NO_LISTS,
) -> Manifest:
    """Merge two objects; ``lists`` are the lists to merge that stand in such an object."""
    merged = copy.deepcopy(dict(base))
    for key, value in patch.items():
        if str(key).startswith("$"):
            raise PodTemplateError(
                f"{path}.{key} is not known: write null, or $patch: delete in an entry of a list"
            )
        if value is None:
            merged.pop(key, None)
        elif key in lists:
            merged[key] = _merge_list(merged.get(key, []), value, lists[key], f"{path}.{key}")
        elif isinstance(merged.get(key), dict):
            where = f"{path}.{key}"
            _must_be(value, Mapping, where)
            below = _POD_LISTS if where == "podTemplate.spec" else _NO_LISTS
            merged[key] = _merge_object(merged[key], value, where, below)
        else:
            merged[key] = _without_nulls(value)
    return merged


def _merge_list(base: list[Any], patch: Any, key: str, path: str) -> list[Any]:
    _must_be(patch, list, path)
    containers = path in _CONTAINERS
    deep = containers or key == _PORT
    merged = {_identity(entry, key): entry for entry in base}
    for index, entry in enumerate(patch):
        _must_be(entry, Mapping, f"{path}[{index}]")
        name = entry.get(key)
        if not isinstance(name, (str, int)):
            raise PodTemplateError(f"{path}[{index}] has no {key}: write the {key} to merge by")
        identity = _identity(entry, key)
        if _DELETE.items() <= entry.items():
            merged.pop(identity, None)
        else:
            old = merged.get(identity, {}) if deep else {}
            lists = _CONTAINER_LISTS if containers else _NO_LISTS
            merged[identity] = _merge_object(old, entry, f"{path}[{name}]", lists)
    return list(merged.values())


def _identity(entry: Mapping[str, Any], key: str) -> tuple[Any, ...]:
    """What tells entries of a list apart: a port may be there once for each protocol."""
    protocol = str(entry.get("protocol") or "TCP") if key == _PORT else ""
    return entry[key], protocol


def _without_nulls(value: Any) -> Any:
    """Drop keys that are null: in a patch they mean "not there", and nothing was there."""
    if isinstance(value, Mapping):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(entry) for entry in value]
    return value


def _must_be(value: Any, kind: type, path: str) -> None:
    wanted = "a list" if kind is list else "an object"
    if not isinstance(value, kind):
        raise PodTemplateError(f"{path} is {_kind(value)}: write {wanted} there")


def _kind(value: Any) -> str:
    """Say what a value is, and not the value: it may hold a password, and all read conditions."""
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "an object"
    kinds = {str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return kinds.get(type(value), "a list")


def pod_template_problems(
    patch: Mapping[str, Any] | None,
    *,
    container: str = "dpe",
    reserved_env: str | None = None,
    elector: bool = False,
) -> tuple[str, ...]:
    """Return why a patch cannot be accepted, one sentence each (empty: it can).

    ``container`` is the operator's own container, ``reserved_env`` the variable that only the
    operator sets, ``elector`` says that the pods run the elector, which must be PID 1 and must not
    be slowed down. Paths begin with ``podTemplate``; the caller puts its own path before them.
    """
    if not patch:
        return ()
    try:
        merge_pod_template(_skeleton(container), patch)
    except PodTemplateError as error:
        return (str(error),)
    problems = [*_outline_problems(patch), *_container_problems(patch, container, reserved_env)]
    if elector:
        problems += _elector_problems(patch, container)
    return tuple(problems)


def _skeleton(container: str) -> Manifest:
    """A template with every object that a real one may have, to try the shape of a patch on."""
    probes: Manifest = {"lifecycle": {}, "startupProbe": {}, "readinessProbe": {}}
    resources: Manifest = {"requests": {}, "limits": {}}
    own = {"name": container, "resources": resources, "securityContext": {}, **probes}
    spec: Manifest = {"containers": [own], "securityContext": {}, "nodeSelector": {}}
    spec |= {"affinity": {"podAntiAffinity": {}}, "os": {}}
    return {"metadata": {"labels": {}, "annotations": {}}, "spec": spec}


def _outline_problems(patch: Mapping[str, Any]) -> Iterator[str]:
    for key in patch:
        if key not in ("metadata", "spec"):
            yield f"podTemplate.{key} is not part of a pod template: write metadata or spec"
    for key in _part(patch, "metadata"):
        if key not in ("labels", "annotations"):
            yield f"podTemplate.metadata.{key} cannot be set: only labels and annotations can"
    for key in _part(_part(patch, "metadata"), "labels"):
        if key in _OWN_LABELS:
            yield f"podTemplate.metadata.labels: {key} is the operator's own: take another label"
    if "spec" in patch and patch["spec"] is None:
        yield "podTemplate.spec is null, which would remove the whole pod: leave it out"
    if "containers" in _part(patch, "spec") and patch["spec"]["containers"] is None:
        yield "podTemplate.spec.containers is null, which would remove the pod: leave it out"


def _container_problems(
    patch: Mapping[str, Any], container: str, reserved_env: str | None
) -> Iterator[str]:
    for where in ("containers", "initContainers"):
        for entry in _part(patch, "spec").get(where) or ():
            path = f"podTemplate.spec.{where}[{entry['name']}]"
            if entry["name"] == container and _DELETE.items() <= entry.items():
                yield f"{path} is the container of DPE and cannot be removed"
            if any(var["name"] == reserved_env for var in entry.get("env") or ()):
                yield (
                    f"{path}.env sets {reserved_env}, which the operator sets to the balancer's"
                    " address: leave it out, or choose another name in clients.serviceRootEnv"
                )
            yield from _variable_problems(entry.get("env") or (), f"{path}.env")


def _variable_problems(variables: Sequence[Manifest], path: str) -> Iterator[str]:
    """Find variables that Kubernetes would refuse with a message that holds what is in them."""
    for index, variable in enumerate(variables):
        name, value = variable["name"], variable.get("value")
        if "=" in str(name):
            yield (
                f"{path}[{index}].name has an equals sign in it: write what stands behind it as"
                " value"
            )
        elif not (value is None or isinstance(value, str) or _DELETE.items() <= variable.items()):
            yield f"{path}[{name}].value is {_kind(value)}: write text there, in quotes"


def _elector_problems(patch: Mapping[str, Any], container: str) -> Iterator[str]:
    spec = _part(patch, "spec")
    for key in ("shareProcessNamespace", "hostPID"):
        if spec.get(key):
            yield (
                f"podTemplate.spec.{key} is true, but the elector must be process 1 of its"
                " container to stop everything in it: leave it out"
            )
    for entry in spec.get("containers") or ():
        limits = _part(_part(entry, "resources"), "limits")
        if entry["name"] == container and limits.get("cpu") is not None:
            yield (
                f"podTemplate.spec.containers[{container}].resources.limits.cpu is"
                f" {limits['cpu']}, but a slowed-down elector loses its Lease: write a CPU request"
                " instead"
            )


def _part(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}
