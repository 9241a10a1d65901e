# SPDX-License-Identifier: Apache-2.0
"""Patterns and CEL rules of ParStore: what the API server refuses, and the sentence it says.

Every rule has a passing and a refused sample in `tests/support/bad_input_par.py`. What needs
arithmetic of times or other objects is refused by the operator.
"""

from __future__ import annotations

from typing import Final

from dpe_operator.api import server_rules
from dpe_operator.api.common import Rule
from dpe_operator.api.constants import DEFAULT_SERVICE_ROOT_ENV, MAX_PAR_STORE_NAME

# Kubernetes' own cron lines; whether they make sense is worked out by the operator.
CRON_PATTERN: Final = r"^[-0-9*/,A-Za-z]+( [-0-9*/,A-Za-z]+){4}$"
# A path inside of a volume. No part begins with a dot: there is no way out of the volume, and the
# copy's own folder .dpe-par stays apart.
SUB_PATH_PATTERN: Final = r"^[^./\\\r\n][^/\\\r\n]*(/[^./\\\r\n][^/\\\r\n]*)*$"
DELETIONS_PATTERN: Final = r"^([0-9]{1,9}|(100|[0-9]{1,2})%)$"
# What rsync would take for a rule of another kind begins with !, "+ " or "- ".
EXCLUDE_PATTERN: Final = r"^([^-+! \t\r\n][^\r\n]*|[-+]([^ \r\n][^\r\n]*)?)$"
REGISTRY_KEY_PATTERN: Final = (
    r"^HKEY_(LOCAL_MACHINE|CURRENT_USER|USERS|CLASSES_ROOT|CURRENT_CONFIG)"
    r"(\\[^\\\[\]\x00-\x1f]+)+$"
)
REGISTRY_NAME_PATTERN: Final = r"^[^\x00-\x1f]*$"

SOURCE: Final = (
    Rule(
        "(has(self.claimName) ? 1 : 0) + (has(self.size) ? 1 : 0) + (has(self.nfs) ? 1 : 0) == 1",
        "write exactly one of claimName (an existing claim), size (a claim that is made) and nfs",
    ),
    Rule(
        "has(self.size) || !has(self.storageClassName)",
        "storageClassName is %s and nothing is made from it: write size, or remove it",
        values=("self.storageClassName",),
        field=".storageClassName",
    ),
)

_CRON_NEEDS_ZONE: Final = Rule(
    "has(self.timeZone)",
    "schedule is %s and there is no timeZone: write the zone its times are meant in, such as "
    "timeZone: Europe/Berlin",
    values=("self.schedule",),
    field=".timeZone",
)
SYNC: Final = (
    _CRON_NEEDS_ZONE,
    Rule(
        "!has(self.resources) || !has(self.resources.limits) || !('cpu' in self.resources.limits)",
        "resources.limits.cpu is %s: a run that is slowed down may lose its lock. Remove it; "
        "requests.cpu may be set",
        values=("self.resources.limits['cpu']",),
        field=".resources",
    ),
)

DWORD_PATTERN: Final = r"^(0x[0-9a-fA-F]{1,8}|[0-9]{1,10})$"
MAX_DWORD: Final = 2**32 - 1
DWORD_CURE: Final = (
    "write one from 0 to 4294967295, or with 0x in front one of up to 8 hexadecimal digits"
)
_IS_DWORD: Final = (
    f"(type(self.value) == int ? (self.value >= 0 && self.value <= {MAX_DWORD})"
    f" : (self.value.matches('{DWORD_PATTERN}')"
    f" && (self.value.startsWith('0x') || int(self.value) <= {MAX_DWORD})))"
)
REGISTRY_VALUE: Final = (
    Rule(
        "self.type != 'REG_MULTI_SZ' || (has(self.values) && !has(self.value))",
        "value %s is REG_MULTI_SZ, a list of texts: write values, and not value",
        values=("self.name",),
    ),
    Rule(
        "self.type == 'REG_MULTI_SZ' || (has(self.value) && !has(self.values))",
        "value %s is %s, a single one: write value, and not values",
        values=("self.name", "self.type"),
    ),
    Rule(
        f"self.type != 'REG_DWORD' || !has(self.value) || {_IS_DWORD}",
        f"value %s is REG_DWORD and no such number: {DWORD_CURE}",
        values=("self.name",),
        field=".value",
    ),
)

_HAS_REDUNDANT: Final = "(has(self.redundant) && self.redundant.size() > 0)"
_SAME_CLAIM: Final = "has(r.claimName) && self.master.claimName == r.claimName"
_FOLDER: Final = "self.master.nfs.path"


def _ended(path: str) -> str:
    """CEL: the path with one slash at its end, so that only whole names are compared."""
    return f"({path} + '/').replace('//', '/')"


_SAME_NFS: Final = (
    "has(r.nfs) && self.master.nfs.server == r.nfs.server"
    f" && ({_ended('r.nfs.path')}.startsWith({_ended(_FOLDER)})"
    f" || {_ended(_FOLDER)}.startsWith({_ended('r.nfs.path')}))"
)
STORE: Final = (
    Rule(
        f"!{_HAS_REDUNDANT} || !has(self.master.claimName)"
        f" || !self.redundant.exists(r, {_SAME_CLAIM})",
        "master and redundant location are both on claim %s, so that its loss takes both: write "
        "another claim for the redundant location, best on other storage",
        values=("self.master.claimName",),
        field=".redundant",
    ),
    Rule(
        f"!{_HAS_REDUNDANT} || !has(self.master.nfs) || !self.redundant.exists(r, {_SAME_NFS})",
        "redundant location and master %s:%s are the same NFS folder, or one lies in the other: "
        "write a folder of another server, or at least another export",
        values=("self.master.nfs.server", _FOLDER),
        field=".redundant",
    ),
    Rule(
        f"!{_HAS_REDUNDANT} || has(self.sync)",
        "there is a redundant location %s and nothing that copies to it: write sync with schedule "
        "and timeZone, or remove redundant",
        values=("self.redundant[0].name",),
        field=".sync",
    ),
    Rule(
        f"!has(self.sync) || {_HAS_REDUNDANT}",
        "there is a sync and no redundant location to copy to: write redundant, or remove sync",
        field=".redundant",
    ),
)

_MOUNTS: Final = (
    "has(self.deliverTo) || has(self.readOnlyFor) || has(self.master.mountPath)"
    f" || ({_HAS_REDUNDANT} && self.redundant.exists(r, has(r.mountPath)))"
    " || (has(self.registry) && (has(self.registry.mountPath)"
    " || self.registry.keys.exists(k, k.values.exists(v, has(v.env)))))"
)
STANDALONE: Final = (
    server_rules.immutable_ref("clusterRef"),
    Rule(
        f"!({_MOUNTS})",
        "mountPath, deliverTo, readOnlyFor and env of registry values have no effect in a ParStore "
        "of its own, because its DpeCluster owns the pods: remove them, and write them in parFiles "
        "of the DpeCluster instead",
    ),
)

_IS_RESERVED: Final = f"k.values.exists(v, has(v.env) && v.env == '{DEFAULT_SERVICE_ROOT_ENV}')"
REGISTRY: Final = (
    Rule(
        f"!self.keys.exists(k, {_IS_RESERVED})",
        f"a registry value is given as {DEFAULT_SERVICE_ROOT_ENV}, which the operator sets to the "
        "balancer's address: write another env",
        field=".keys",
    ),
)

NAME: Final = (
    server_rules.short_name(
        MAX_PAR_STORE_NAME, "names of the CronJob, its Jobs and the claims are made from it"
    ),
)
