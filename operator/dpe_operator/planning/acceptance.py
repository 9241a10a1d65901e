# SPDX-License-Identifier: Apache-2.0
"""Whether a spec is accepted: what the API server could not check because it sees one object only.

A refusal names field, value and cure, becomes condition Accepted=False, and changes nothing that
runs: the last accepted spec stays in force.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from dpe_operator.api import constants
from dpe_operator.api.addresses import member_name
from dpe_operator.api.clients import ClientProfile
from dpe_operator.api.common import ApiModel
from dpe_operator.api.databases import DatabaseEnv
from dpe_operator.api.pods import EnvVar, PodSettings
from dpe_operator.api.server import ServerSpec
from dpe_operator.builders.elector_patch import injected_patch_problems
from dpe_operator.builders.pod import CONTAINER
from dpe_operator.builders.pod_template import pod_template_problems
from dpe_operator.planning.objects import Obj

Model = TypeVar("Model", bound=ApiModel)
# Longest computer names: NetBIOS cuts at 15 characters, a DNS label has 63.
WINDOWS_NAME: Final = 15
LINUX_NAME: Final = 63
# Behind one slash or backslash stands a part of a path, behind two of them a host.
_NOT_IN_A_PATH: Final = r"(?<!(?<![/\\])[/\\])"


class Refused(ValueError):
    """A spec that cannot be accepted; `reason` is the word for the condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def parsed(model: type[Model], raw: Mapping[str, Any]) -> Model:
    """Read a spec.

    Raises:
        Refused: it does not fit; the message names the first three fields and values.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        found = [
            f"spec.{'.'.join(str(part) for part in entry['loc'])}: {entry['msg']}{_input(entry)}"
            for entry in error.errors()[:3]
        ]
        raise Refused("InvalidSpec", "; ".join(found)) from error


def _input(entry: Mapping[str, Any]) -> str:
    # A variable may hold a password, and conditions and events are read by many.
    if "env" in entry["loc"]:
        return ""
    return f" (it is {str(entry['input'])[:80]!r})"


def require(problems: Iterable[str], reason: str) -> None:
    """Raise `Refused` with all problems, if there are any."""
    found = list(problems)
    if found:
        raise Refused(reason, "; ".join(found))


def server_hosts(name: str, server: ServerSpec) -> list[str]:
    """Return the host names by which single servers of a pair could be reached directly."""
    return [
        member_name(name, member.name) if member.external is None else member.external.host
        for member in server.members
    ]


def direct_address_problems(
    settings: PodSettings, *, path: str, hosts: Sequence[str], service_root: str
) -> Iterator[str]:
    """Find places where a component is given the address of a single server.

    It would not follow a fail-over. `path` is where the settings stand in the spec.
    """
    if not hosts:
        return
    names = "|".join(re.escape(host) for host in sorted(set(hosts), key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w.-]){_NOT_IN_A_PATH}({names})(?![\w-])", re.IGNORECASE)
    for where, text in _texts(settings):
        match = pattern.search(text)
        if match:
            yield (
                # not the whole text: it may hold a password, and conditions are read by many
                f"{path}.{where} names {match.group(1)}, one single server, and would not follow"
                f" a fail-over; write the balancer's address {service_root},"
                " which every component is also given by itself"
            )


def _texts(settings: PodSettings) -> Iterator[tuple[str, str]]:
    for variable in settings.env:
        if variable.value:
            yield f"env[{variable.name}].value", variable.value
    for key, lines in (("command", settings.command), ("args", settings.args)):
        for number, line in enumerate(lines or ()):
            if (key, number) != ("command", 0):  # the program itself may be called like a host
                yield f"{key}[{number}]", line
    yield from _strings(settings.pod_template, "podTemplate")


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from _strings(below, f"{path}.{key}")
    elif isinstance(value, list):
        for number, below in enumerate(value):
            name = below.get("name", number) if isinstance(below, Mapping) else number
            yield from _strings(below, f"{path}[{name}]")


def reserved_env_problems(
    variables: Iterable[EnvVar | DatabaseEnv],
    *,
    path: str,
    clients: ClientProfile,
    service_root: str,
    default_is_free: bool = True,
) -> Iterator[str]:
    """Find a variable that only the operator sets, under the name configured for this site.

    `default_is_free`: whether DPE_SERVICE_ROOT may be set here where the site has another name.
    """
    name = clients.service_root_env
    cure = "remove it"
    if default_is_free or name != constants.DEFAULT_SERVICE_ROOT_ENV:
        cure += ", or write another name in clients.serviceRootEnv of the DpeCluster"
    if name in {variable.name for variable in variables}:
        yield (
            f"{path}.env sets {name}, which the operator sets to the balancer's address"
            f" {service_root}: {cure}"
        )


def template_problems(
    patch: Mapping[str, Any] | None,
    *,
    path: str,
    clients: ClientProfile,
    container: str = CONTAINER,
    elector: bool = False,
) -> Iterator[str]:
    """Find what is wrong with a `podTemplate`; `path` is where it stands, without its own name.

    With `elector` the pods run it: in an image of ours, or injected into that of DPE.
    """
    problems = pod_template_problems(
        patch, container=container, reserved_env=clients.service_root_env, elector=elector
    )
    if elector and container == CONTAINER and not problems:
        problems = tuple(injected_patch_problems(patch))
    for problem in problems:
        yield f"{path}.{problem}" if problem.startswith("podTemplate") else f"{path}: {problem}"


def pair_problems(
    server: ServerSpec, *, name: str, path: str, clients: ClientProfile
) -> Iterator[str]:
    """Find what is wrong with the computer names and pod templates of a pair and its balancer.

    `name` is the resource's: computer names are made from it where none are written.
    """
    width = WINDOWS_NAME if server.os == "windows" else LINUX_NAME
    names = [
        (member.host_name or member_name(name, member.name))[:width].lower()
        for member in server.in_cluster_members
    ]
    if len(set(names)) < len(names):
        cut = f" (Windows cuts names at {WINDOWS_NAME} characters)" if width == WINDOWS_NAME else ""
        yield (
            f"{path}.members: both computers would be called {names[0]}{cut}, and DPE keys"
            " licences and local parameter files by that name: write two different hostName"
        )
    yield from template_problems(server.pod_template, path=path, clients=clients)
    yield from template_problems(
        server.load_balancer.pod_template,
        path=f"{path}.loadBalancer",
        clients=clients,
        container="balancer",
        elector=True,
    )


def ownership_reason(conflicts: Sequence[Obj]) -> str:
    """Return the sentence about objects whose names are taken by strangers."""
    found = [f"{_named(obj)} {_belongs(obj)}" for obj in conflicts]
    return (
        f"{'; '.join(found)}: delete or rename that object if it is not needed, or give this"
        " resource another name"
    )


def _named(obj: Mapping[str, Any]) -> str:
    return f"{obj['kind']} {obj['metadata']['name']}"


def _belongs(obj: Mapping[str, Any]) -> str:
    for owner in obj["metadata"].get("ownerReferences", []):
        if owner.get("controller"):
            return f"belongs to {owner['kind']} {owner['name']}"
    labels = obj["metadata"].get("labels", {})
    if obj["kind"] == "PersistentVolumeClaim":
        return (
            "is there already and was not made for this resource (to use it, write its name in"
            " claimName instead of a size)"
        )
    if labels.get(constants.LABEL_MANAGED_BY):
        return f"is managed by {labels[constants.LABEL_MANAGED_BY]} and has no owner"
    return "is there already and was not made by this resource"
