# SPDX-License-Identifier: Apache-2.0
"""What is refused about the databases of a site beyond what the API server sees.

One database would take the place of another, or of something that every pod needs, and which of
the two wins would be an accident of their order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.api.databases import (
    ContentDatabase,
    CoreDatabase,
    DatabaseDelivery,
    Databases,
    Receiver,
)
from dpe_operator.api.pods import Volume
from dpe_operator.builders.elector import API_DIR, ELECTOR_DIR
from dpe_operator.builders.par_mounts import RECEIVERS, par_volumes
from dpe_operator.builders.workflow_memory import VOLUME_DIR
from dpe_operator.planning.acceptance import reserved_env_problems
from dpe_operator.planning.cluster_workflow import entries as workflow_entries

_OWN_FOLDERS: Final = (ELECTOR_DIR, API_DIR, VOLUME_DIR)
_OWN_PREFIXES: Final = ("DPE_ELECTOR_", "DPE_MEMORY_", "DPE_API_")
_DECLARED: Final = (
    constants.ENV_SCHEDULE,
    constants.ENV_TIME_ZONE,
    constants.ENV_TITLE_TEMPLATE,
    constants.ENV_MEMBER,
)
_NEEDED: Final = ("/", "/tmp")  # noqa: S108 - paths inside the container


@dataclass(frozen=True, slots=True)
class _Entry:
    """One database with the place where it stands in the spec."""

    path: str
    delivery: DatabaseDelivery
    receivers: frozenset[Receiver]


def database_problems(spec: DpeClusterSpec, *, service_root: str) -> Iterator[str]:
    """Find what cannot be accepted about `spec.databases`; nothing without any."""
    entries = list(_entries(spec.databases))
    for entry in entries:
        yield from reserved_env_problems(
            entry.delivery.env, path=entry.path, clients=spec.clients, service_root=service_root
        )
        yield from _own_variables(entry)
        yield from _path_problems(entry, spec)
    for first, second in combinations(entries, 2):
        common = first.receivers & second.receivers
        if common:
            yield from _clashes(first, second, sorted(common)[0])


def _entries(databases: Databases | None) -> Iterator[_Entry]:
    if databases is None:
        return
    found: list[tuple[str, CoreDatabase | ContentDatabase]] = []
    if databases.core is not None:
        found.append(("spec.databases.core", databases.core))
    found += [(f"spec.databases.content[{entry.name}]", entry) for entry in databases.content]
    for path, entry in found:
        yield _Entry(path, entry, frozenset(entry.deliver_to))


def _own_variables(entry: _Entry) -> Iterator[str]:
    """Find variables by which workflow components, and the elector in them, are told what to do.

    The elector would send its token to another API server, for example.
    """
    if "Workflow" not in entry.receivers:
        return
    for variable in entry.delivery.env:
        if variable.name in _DECLARED or variable.name.startswith(_OWN_PREFIXES):
            yield (
                f"{entry.path}.env sets {variable.name}, which the operator uses itself in workflow"
                " components: write another name, or take Workflow out of deliverTo"
            )


def _clashes(first: _Entry, second: _Entry, receiver: Receiver) -> Iterator[str]:
    names = {variable.name for variable in second.delivery.env}
    for variable in first.delivery.env:
        if variable.name in names:
            yield (
                f"{first.path}.env and {second.path}.env both set {variable.name} in"
                f" {_PODS[receiver]}: write two names"
            )
    one, other = first.delivery.mount_path, second.delivery.mount_path
    if one and other and (_inside(one, other) or _inside(other, one)):
        yield (
            f"{second.path}.mountPath is {other} and {first.path}.mountPath is {one}, so one would"
            f" hide the other in {_PODS[receiver]}: write folders beside each other"
        )


_PODS: Final[dict[Receiver, str]] = {
    "Servers": "the servers",
    "Processors": "processors",
    "Workflow": "workflow components",
}


def _path_problems(entry: _Entry, spec: DpeClusterSpec) -> Iterator[str]:
    own = entry.delivery.mount_path
    if own is None:
        return
    if _normal(own) in {_normal(path) for path in _NEEDED}:
        yield (
            f"{entry.path}.mountPath is {own}, which every pod needs for itself: write a folder of"
            " its own, such as /etc/dpe/database"
        )
    if any(_inside(own, folder) or _inside(folder, own) for folder in _OWN_FOLDERS):
        yield (
            f"{entry.path}.mountPath is {own}, which hides what the operator puts into pods: write"
            " a folder of its own, such as /etc/dpe/database"
        )
    # a set of its own: PAR files are mounted for three receivers, and one sentence is enough
    yield from dict.fromkeys(
        problem
        for mounted in _mounted(spec)
        if mounted.receiver in entry.receivers
        for problem in _mount_problems(f"{entry.path}.mountPath is {own}", own, mounted)
    )


@dataclass(frozen=True, slots=True)
class _Mounted:
    """Another volume in the pods of a receiver. `shared`: of the site, so it does not win over a
    database at its very path, as a component's own does."""

    what: str
    receiver: Receiver
    volume: Volume
    shared: bool = False

    @property
    def is_read_only(self) -> bool:
        volume = self.volume
        return bool(volume.read_only or volume.secret_name or volume.config_map_name)


def _mount_problems(start: str, own: str, mounted: _Mounted) -> Iterator[str]:
    path = mounted.volume.mount_path
    what = f"{mounted.what} (mountPath {path})"
    same = _normal(path) == _normal(own)
    if _inside(path, own) and (mounted.shared or not same):
        yield (
            f"{start}, a folder of read-only files in which {what} has no place: write folders"
            " beside each other"
        )
    elif _inside(own, path) and not same and mounted.is_read_only:
        yield f"{start}, which has no place in {what}, as that is read-only: write another folder"


def _mounted(spec: DpeClusterSpec) -> Iterator[_Mounted]:
    for receiver in RECEIVERS:
        for volume in spec.shared_volumes:
            yield _Mounted(f"spec.sharedVolumes[{volume.name}]", receiver, volume, shared=True)
        if spec.par_files is not None:
            for volume in par_volumes(spec.par_files, "site", receiver):
                yield _Mounted("a folder of spec.parFiles", receiver, volume, shared=True)
    own: list[tuple[str, Receiver, Iterable[Volume]]]
    own = [("spec.server", "Servers", spec.server.volumes)]
    own += [(f"spec.server.members[{m.name}]", "Servers", m.volumes) for m in spec.server.members]
    own += [
        (f"spec.processors[{farm.type}]", "Processors", farm.volumes) for farm in spec.processors
    ]
    own += [(path, "Workflow", entry.volumes) for _, path, entry in workflow_entries(spec)]
    for path, receiver, volumes in own:
        for volume in volumes:
            yield _Mounted(f"{path}.volumes[{volume.name}]", receiver, volume)


def _normal(path: str) -> str:
    """A path in one spelling, Windows' or not."""
    return path.replace("\\", "/").rstrip("/").lower()


def _inside(inner: str, outer: str) -> bool:
    """Whether a path is another one or lies below it."""
    return f"{_normal(inner)}/".startswith(f"{_normal(outer)}/")
