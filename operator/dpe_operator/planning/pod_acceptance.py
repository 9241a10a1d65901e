# SPDX-License-Identifier: Apache-2.0
"""What Kubernetes would refuse in the pods made of a spec, and the schema of the spec cannot say.

Once accepted, such a spec would be in force, and no Deployment could be made of it. A startupProbe
of candidates and certificates without a name are here too, though Kubernetes takes them, because
all of this is asked of a spec that is new (`if_new`): one that an older release accepted stays in
force.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from dpe_operator.api.balancer import LoadBalancer
from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.api.common import KEY_PATTERN
from dpe_operator.api.par_store import ParStoreTemplate, ParSync
from dpe_operator.api.pods import MAX_ENV, PodSettings, Resources
from dpe_operator.api.server import Member, ServerSpec
from dpe_operator.api.workflow import WatcherTemplate, WorkflowTemplate
from dpe_operator.builders.balancer_ports import has_balancer
from dpe_operator.builders.elector_patch import PROBE_WHY
from dpe_operator.builders.par_mounts import par_env
from dpe_operator.builders.pod import CONTAINER, pod_security
from dpe_operator.builders.pod_template import PodTemplateError, merge_pod_template
from dpe_operator.builders.values import is_device, is_ip_address
from dpe_operator.builders.workflow_parts import is_standby
from dpe_operator.planning.cluster_workflow import entries
from dpe_operator.planning.objects import dig
from dpe_operator.planning.plan import Situation
from dpe_operator.planning.quantities import is_whole, quantity
from dpe_operator.planning.workflow_problems import own_containers

_KEY: Final = re.compile(KEY_PATTERN)
_LONGEST_DOMAIN: Final = 253
_OF_A_CONTAINER: Final = ("cpu", "memory", "ephemeral-storage")
_HUGE_PAGES: Final = "hugepages-"
_ADMINISTRATOR: Final = "ContainerAdministrator"
# What Kubernetes takes for a variable; of labels and annotations only single ones.
_POD_FIELD: Final = re.compile(
    r"metadata\.(name|namespace|uid|(labels|annotations)\['[^']+'\])"
    r"|spec\.(nodeName|serviceAccountName)|status\.(host|pod)IPs?"
)


def if_new(
    situation: Situation, accepted: Mapping[str, Any], problems: Iterable[str]
) -> Iterable[str]:
    """Return the problems of a spec, none if it is in force already.

    What it takes over from its DpeCluster may be new: that is nobody's edit of this spec.
    """
    memory = situation.memory
    in_force = memory is not None and memory.accepted.get("spec") == accepted["spec"]
    return () if in_force else problems


def site_pod_problems(spec: DpeClusterSpec) -> Iterator[str]:
    """Find what is wrong with any pods of a site."""
    yield from pair_pod_problems(spec.server, path="spec.server")
    for farm in spec.processors:
        yield from pod_problems(farm, path=f"spec.processors[{farm.type}]")
    for _, path, entry in entries(spec):
        yield from pod_problems(entry, path=path)
    if spec.par_files is not None:
        yield from par_pod_problems(spec.par_files, path="spec.parFiles")
        yield from _variable_problems(spec.server, spec.par_files)


def pair_pod_problems(server: ServerSpec, *, path: str) -> Iterator[str]:
    """Find what is wrong with the pods of a pair and its balancer, and the balancer's Service."""
    yield from pod_problems(server, path=path)
    for member in server.members:
        where = f"{path}.members[{member.name}]"
        yield from _key_problems(member.node_selector, f"{where}.nodeSelector")
        yield from _source_problems(member, where)
    yield from _common_problems(server.load_balancer, path=f"{path}.loadBalancer")
    notes = server.load_balancer.service.annotations
    yield from _key_problems(_lower(notes), f"{path}.loadBalancer.service.annotations")
    yield from _certificate_problems(server, path)


def _certificate_problems(server: ServerSpec, path: str) -> Iterator[str]:
    """HAProxy compares a certificate with DNS names only: given an address it would take that of
    any other machine of the same authority."""
    health, tls = server.health, server.health.tls_or_default
    if not has_balancer(server) or health.scheme == "HTTP" or tls.verify == "None":
        return
    header = (health.host_header or "").partition(":")[0]
    if tls.server_name:
        wanted = {f"{path}.health.tls.serverName": tls.server_name}
    elif header:
        wanted = {f"{path}.health.hostHeader": header}
    else:
        wanted = {
            f"{path}.members[{member.name}].external.host": member.external.host
            for member in server.members
            if member.external
        }
    for where, name in wanted.items():
        if is_ip_address(name):
            yield (
                f"{where} is the address {name}, and certificates are checked by name: write"
                f" {path}.health.tls.serverName, the name in its certificate, or verify: None"
            )


def par_pod_problems(store: ParStoreTemplate, *, path: str) -> Iterator[str]:
    """Find what is wrong with the pods of the copy of PAR files."""
    yield from _size_problems(store.master.size, f"{path}.master.size")
    for location in store.redundant:
        yield from _size_problems(location.size, f"{path}.redundant[{location.name}].size")
    if store.sync is not None:
        yield from _common_problems(store.sync, path=f"{path}.sync")


def _variable_problems(server: ServerSpec, par: ParStoreTemplate) -> Iterator[str]:
    """The servers are told of PAR files by variables in their own spec, which takes so many."""
    own = {variable.name for variable in server.env}
    added = {variable.name for variable in par_env(par, "Servers")} - own
    if added and len(own) + len(added) > MAX_ENV:
        yield (
            f"spec.parFiles.registry gives {len(added)} values to the servers as variables, beside"
            f" {len(own)} of spec.server.env, and a server takes {MAX_ENV}: write env for fewer"
            " values, or leave Servers out of spec.parFiles.deliverTo"
        )


def pod_problems(settings: PodSettings, *, path: str) -> Iterator[str]:
    """Find what is wrong with the pods of one component; `path` is where its settings stand."""
    yield from _common_problems(settings, path=path)
    yield from _key_problems(settings.pod_labels, f"{path}.podLabels")
    yield from _key_problems(_lower(settings.pod_annotations), f"{path}.podAnnotations")
    yield from _source_problems(settings, path)
    if isinstance(settings, WatcherTemplate) and settings.memory is not None:
        yield from _size_problems(settings.memory.size, f"{path}.memory.size")
    if settings.os == "windows":
        yield from _administrator_problems(settings.pod_template, path)
    if isinstance(settings, WorkflowTemplate) and is_standby(settings):
        yield from _startup_probe_problems(settings.pod_template, path)


def _startup_probe_problems(patch: Mapping[str, Any] | None, path: str) -> Iterator[str]:
    """A candidate has not started the program, so the probe never passes; null changes nothing."""
    if any(container.get("startupProbe") is not None for container in own_containers(patch)):
        yield f"{path}.podTemplate.spec.containers[{CONTAINER}].startupProbe {PROBE_WHY}"


def _administrator_problems(patch: Mapping[str, Any] | None, path: str) -> Iterator[str]:
    """Find containers that run as one of Windows' administrators, though runAsNonRoot is true."""
    own: dict[str, Any] = {
        "containers": [{"name": CONTAINER}],
        "securityContext": pod_security("windows"),
    }
    try:
        merged = merge_pod_template({"metadata": {"labels": {}}, "spec": own}, patch)
    except PodTemplateError:
        return  # it is refused for its shape
    spec = merged.get("spec")
    for kind in ("containers", "initContainers"):
        for container in dig(spec, kind, default=()):
            levels = [dig(level, "securityContext") for level in (container, spec)]
            user = _first(levels, "windowsOptions", "runAsUserName")
            if str(user).lower() == _ADMINISTRATOR.lower() and _first(levels, "runAsNonRoot"):
                yield (
                    f"{path}.podTemplate makes the container {container['name']} run as"
                    f" {_ADMINISTRATOR} while runAsNonRoot is true, which Windows nodes refuse to"
                    " start: write runAsNonRoot: false beside windowsOptions"
                )


def _first(levels: Iterable[Any], *path: str) -> Any:
    """What the container says counts, and else what the pod says."""
    return next((found for level in levels if (found := dig(level, *path)) is not None), None)


def _common_problems(settings: PodSettings | LoadBalancer | ParSync, *, path: str) -> Iterator[str]:
    yield from _key_problems(settings.node_selector, f"{path}.nodeSelector")
    if settings.resources is not None:
        yield from _resource_problems(settings.resources, f"{path}.resources")


# --- where variables, folders and claims come from


def _source_problems(settings: PodSettings | Member, path: str) -> Iterator[str]:
    for variable in settings.env:
        field = variable.value_from.field_ref if variable.value_from else None
        if field is not None and not _POD_FIELD.fullmatch(field.field_path):
            yield (
                f"{path}.env[{variable.name}] names the field {field.field_path[:80]}, which pods"
                " do not have for this: write one such as metadata.name, spec.nodeName,"
                " status.podIP or metadata.labels['x']"
            )
    for volume in settings.volumes:
        limit = volume.empty_dir.size_limit if volume.empty_dir else None
        if limit is not None and quantity(limit) < 0:
            yield (
                f"{path}.volumes[{volume.name}].emptyDir.sizeLimit is {limit}, which is below zero:"
                " write what it may hold"
            )


def _size_problems(size: str | None, where: str) -> Iterator[str]:
    if size is not None and quantity(size) <= 0:
        yield f"{where} is {size}: a claim has a size above zero, such as 2Gi"


# --- keys of labels and annotations


def _lower(keys: Iterable[str]) -> list[str]:
    """Kubernetes does not mind capitals in the domain of an annotation's key."""
    return [key.lower() for key in keys]


def _key_problems(keys: Iterable[str], where: str) -> Iterator[str]:
    for key in keys:
        domain, _, _ = key.rpartition("/")
        if len(domain) > _LONGEST_DOMAIN or not _KEY.fullmatch(key):
            yield (
                f"{where} has the key {key[:80]!r}, which Kubernetes does not take: write at most"
                " 63 letters, digits, dashes, dots and underscores, with a letter or digit at both"
                " ends, and a domain and a slash in front if you like"
            )


# --- CPU, memory and devices


def _resource_problems(resources: Resources, where: str) -> Iterator[str]:
    requests, limits = resources.requests or {}, resources.limits or {}
    unknown = set()
    for field, amounts in (("requests", requests), ("limits", limits)):
        for name, amount in amounts.items():
            found = _amount_problem(name, amount)
            if found:
                unknown.add(name)
                yield f"{where}.{field}.{name} {found}"
    for name, request in requests.items():
        found = _request_problem(name, request, limits.get(name))
        if found and name not in unknown:
            yield f"{where}.requests.{name} is {request}{found}"


def _amount_problem(name: str, amount: str) -> str:
    """Say what is wrong with one amount by itself; empty: nothing."""
    of_a_container = name in _OF_A_CONTAINER or name.startswith(_HUGE_PAGES)
    if not (of_a_container or "/" in name) or not _KEY.fullmatch(name):
        return (
            "is no resource that Kubernetes knows: write cpu, memory or ephemeral-storage, or a"
            " device with the domain of its vendor, such as nvidia.com/gpu"
        )
    if quantity(amount) < 0:
        return f"is {amount}, which is below zero: write what is needed"
    if is_device(name) and not is_whole(quantity(amount)):
        return f"is {amount}, but devices are counted whole: write a number such as 1"
    return ""


def _request_problem(name: str, request: str, limit: str | None) -> str:
    """Say what is wrong with a request beside its limit; empty: nothing."""
    shared = not is_device(name) and not name.startswith(_HUGE_PAGES)
    if limit is None:
        if shared:
            return ""
        return " without a limit, which Kubernetes wants here: write the same number in limits"
    if shared and quantity(request) > quantity(limit):
        return f", above the limit of {limit}: write a higher limit, or a smaller request"
    if not shared and quantity(request) != quantity(limit):
        return f" and its limit {limit}, but they must be the same: write one number in both"
    return ""
