# SPDX-License-Identifier: Apache-2.0
"""What the operator refuses about PAR files: schedules, patches, names and folders taken twice."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from dpe_operator.api.clients import ClientProfile
from dpe_operator.api.databases import Receiver
from dpe_operator.api.par_rules import DWORD_CURE
from dpe_operator.api.par_store import ParRedundant, ParStoreTemplate, Registry, RegistryValue
from dpe_operator.api.pods import PodSettings, Volume
from dpe_operator.builders.par_claims import Location, claim_name, locations
from dpe_operator.builders.par_mounts import is_given, mount_path, par_volumes
from dpe_operator.builders.par_sync import CONTAINER
from dpe_operator.builders.registry_file import (
    FILE,
    is_dword,
    plain_text,
    registry_file,
    values_of,
)
from dpe_operator.planning.acceptance import template_problems
from dpe_operator.planning.par_times import schedule_problems

# A ConfigMap may have 1 MiB, and base64 takes a third more.
_MOST_BYTES: Final = 512 * 1024
# as everywhere else for a variable
_LONGEST_ENV: Final = 4096


def par_problems(store: ParStoreTemplate, *, name: str, path: str) -> Iterator[str]:
    """Find what is wrong with PAR files.

    Args:
        store: the spec.
        name: that of the ParStore; claims are named after it.
        path: where the spec stands.
    """
    claims = [claim_name(name, location) for location in locations(store)]
    for twice in _twice(claim for claim in claims if claim):
        yield (
            f"{path}: master and redundant location are both on claim {twice}, so that its loss"
            " takes both: write another claim for the redundant location, best on other storage"
        )
    if store.sync is not None:
        for problem in schedule_problems(store.sync):
            yield f"{path}.sync.{problem}"
        yield from template_problems(
            store.sync.pod_template,
            path=f"{path}.sync",
            clients=ClientProfile(),
            container=CONTAINER,
            elector=True,
        )
    if store.registry is not None:
        yield from _registry_problems(store.registry, path=f"{path}.registry")


def _registry_problems(registry: Registry, *, path: str) -> Iterator[str]:
    values = list(values_of(registry))
    for kind, names in (
        ("env", [value.env for value in values if value.env]),
        ("file", [*(value.file for value in values if value.file), FILE]),
    ):
        for twice in _twice(names):
            yield f"{path}: {kind} {twice} is there twice: write another name for one of them"
    for value in values:
        if value.env and len(plain_text(value)) > _LONGEST_ENV:
            yield (
                f"{path}: value {value.name} is too long to be given as {value.env}: remove env,"
                " or write file to have it in the ConfigMap"
            )
    no_numbers = list(_number_problems(values, path=path))
    yield from no_numbers
    # without its numbers there is no file to be measured
    size = 0 if no_numbers else len(registry_file(registry))
    if size > _MOST_BYTES:
        yield (
            f"{path}: the registry file has {size} bytes, and {_MOST_BYTES} fit into a ConfigMap:"
            " write fewer or shorter values"
        )


def _number_problems(values: Iterable[RegistryValue], *, path: str) -> Iterator[str]:
    for value in values:
        if value.type == "REG_DWORD" and not is_dword(value.value or ""):
            yield (
                f"{path}: value {value.name} is REG_DWORD and {value.value} is no such number:"
                f" {DWORD_CURE}"
            )


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


@dataclass(frozen=True, slots=True)
class Part:
    """A component of a site: what it is for deliverTo, its place in the spec, its nodes."""

    receiver: Receiver
    path: str
    settings: PodSettings


def mount_problems(par: ParStoreTemplate, *, path: str, parts: Iterable[Part]) -> Iterator[str]:
    """Find what cannot be mounted on the nodes of those who are given it.

    Args:
        par: `parFiles` of the DpeCluster.
        path: where it stands.
        parts: all components of the site.
    """
    folders = _folders(par, path)
    shares = [f"{path}.{_where(entry)}" for entry in locations(par) if entry.nfs is not None]
    for part in parts:
        if not is_given(par, part.receiver):
            continue
        without = f"leave {part.receiver} out of {path}.deliverTo"
        if part.settings.os == "windows":
            for share in shares:
                yield (
                    f"{share} is nfs, which the Windows nodes of {part.path} cannot mount: write"
                    f" claimName with a claim of an SMB driver, or {without}"
                )
            continue
        for field, folder in folders.items():
            if not folder.startswith("/"):
                yield (
                    f"{field} is {folder}, but {part.path} runs on Linux nodes: write a path that"
                    " begins with a slash (Windows nodes take it for one on drive C:), or"
                    f" {without}"
                )


def _folders(par: ParStoreTemplate, path: str) -> dict[str, str]:
    """Return what is mounted where, by the field that says so."""
    found = {f"{path}.{_where(entry)}.mountPath": mount_path(entry) for entry in locations(par)}
    if par.registry is not None and par.registry.mount_path is not None:
        found[f"{path}.registry.mountPath"] = par.registry.mount_path
    return found


def folder_problems(par: ParStoreTemplate, *, path: str, shared: Sequence[Volume]) -> Iterator[str]:
    """Find what would be mounted at one path in one pod, or under one name.

    Servers are told of PAR files as of further shared volumes, and one list has a name once.

    Args:
        par: `parFiles` of the DpeCluster.
        path: where it stands.
        shared: the `sharedVolumes` of the DpeCluster.
    """
    folders = _folders(par, path)
    for (first, one), (second, other) in combinations(folders.items(), 2):
        if one == other:
            yield f"{second} is {other}, and so is {first}: write another path for one of them"
    own = {volume.name for volume in par_volumes(par, "site", "Servers")}
    for volume in shared if own else ():
        where = f"spec.sharedVolumes[{volume.name}]"
        for field, folder in folders.items():
            if folder == volume.mount_path:
                yield (
                    f"{field} is {folder}, and so is that of {where}: write another path for one of"
                    " them, or remove that shared volume"
                )
        if volume.name in own:
            yield f"{where} has the name of a volume that is made of {path}: write another name"


def _where(location: Location) -> str:
    return f"redundant[{location.name}]" if isinstance(location, ParRedundant) else "master"
