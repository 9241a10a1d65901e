# SPDX-License-Identifier: Apache-2.0
"""What is said about the databases of a site, as conditions.

Only a Secret or an entry that is missing counts for Ready: pods that need it do not start. All else
is a finding, and what cannot be seen stays Unknown.
"""

from collections.abc import Sequence
from typing import Final

from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.api.databases import CoreDatabase
from dpe_operator.database_check.report import FINDINGS, UNKNOWN
from dpe_operator.planning import database_sentences as sentences
from dpe_operator.planning.conditions import Conditions
from dpe_operator.planning.databases import DatabaseChecks
from dpe_operator.planning.plan import Notice
from dpe_operator.planning.summary import Part

SECRETS_PRESENT: Final = "DatabaseSecretsPresent"
REDUNDANT: Final = "DatabasesRedundant"
CONSISTENT: Final = "CoreDatabaseConsistent"
SHARED: Final = "CoreDatabaseShared"

_NOT_CHECKED: Final = "NotChecked"


def secrets_parts(checks: DatabaseChecks) -> list[Part]:
    """Return whether every Secret and entry is there; nothing for a site without databases."""
    if not checks.references:
        return []
    if checks.result is None or checks.doubt:
        return [Part(SECRETS_PRESENT, None, _NOT_CHECKED, _capital(checks.doubt))]
    pairs = zip(checks.references, checks.result.report.seen, strict=True)
    found = [text for asked, seen in pairs if (text := sentences.missing(asked, seen))]
    if not found:
        count = len({asked.secret for asked in checks.references})
        text = f"Every entry that is asked for is in its Secret ({count})."
        return [Part(SECRETS_PRESENT, True, "AllThere", text)]
    gone = any(not seen.found for seen in checks.result.report.seen)
    reason = "SecretMissing" if gone else "EntryMissing"
    return [Part(SECRETS_PRESENT, False, reason, "; ".join(found), hard=True)]


def state_findings(conditions: Conditions, spec: DpeClusterSpec, checks: DatabaseChecks) -> None:
    """State what is known of redundancy, and of the core databases being one or two."""
    _state_redundancy(conditions, checks)
    core = spec.databases.core if spec.databases else None
    if core is None:
        return
    if core.mode == "Shared":
        conditions.set(SHARED, True, "OneCoreDatabase", "Both servers use one core database.")
        conditions.set(CONSISTENT, *_one(spec, core))
    else:
        conditions.set(
            SHARED,
            False,
            "Independent",
            "Each server has a core database of its own. Workflows and jobs that one has written"
            " are not seen by the other: after a fail-over they wait until their server is back,"
            " and clients must start them anew. Fail-over without a seam needs one core database"
            " on a fail-over cluster (mode: Shared).",
        )
        conditions.set(CONSISTENT, *_two(spec, core, checks))


def finding_notices(conditions: Conditions) -> list[Notice]:
    """Return events about findings that were not there in the reconcile before."""
    return [
        Notice("Warning", "DatabaseFinding", f"{kind}: {conditions.message(kind)}")
        for kind in (REDUNDANT, CONSISTENT)
        if conditions.status(kind) == "False" and conditions.flipped(kind)
    ]


def _state_redundancy(conditions: Conditions, checks: DatabaseChecks) -> None:
    if not checks.references:
        conditions.set(
            REDUNDANT,
            None,
            "NotDeclared",
            "No database is named in spec.databases, so nothing is known about what stands behind"
            " the servers.",
        )
        return
    if checks.result is None or checks.doubt:
        conditions.set(REDUNDANT, None, _NOT_CHECKED, _capital(checks.doubt))
        return
    pairs = list(zip(checks.references, checks.result.report.seen, strict=True))
    bad = [(asked, seen) for asked, seen in pairs if seen.code in FINDINGS]
    unknown = [(asked, seen) for asked, seen in pairs if seen.code in UNKNOWN]
    text = sentences.described([*bad, *unknown] or pairs)
    if bad:
        conditions.set(REDUNDANT, False, _reason([seen.code for _, seen in bad]), text)
    elif unknown:
        conditions.set(REDUNDANT, None, _reason([seen.code for _, seen in unknown]), text)
    else:
        conditions.set(REDUNDANT, True, "FailOver", text)


def _reason(codes: Sequence[str]) -> str:
    return codes[0] if len(set(codes)) == 1 else "Several"


_Said = tuple[bool | None, str, str]


def _one(spec: DpeClusterSpec, core: CoreDatabase) -> _Said:
    """Whether both servers surely use the same core database."""
    assert core.secret_ref is not None, "the API server demands it"
    unseen = _unseen(spec, core)
    if unseen is not None:
        return unseen
    secret = core.secret_ref.name
    return True, "OneSecret", f"Both servers are given Secret {secret}, so they use the same one."


def _two(spec: DpeClusterSpec, core: CoreDatabase, checks: DatabaseChecks) -> _Said:
    """Whether the two servers surely use two core databases."""
    result = checks.result
    likeness = result.report.likeness if result and not checks.doubt else None
    if likeness == "Same":
        return (
            False,
            "SameDatabase",
            "The Secrets of both servers name the same database, which is one core database and not"
            " two: write mode: Shared, or correct one of the Secrets",
        )
    unseen = _unseen(spec, core)
    if unseen is not None:
        return unseen
    if result is None or checks.doubt:
        return None, _NOT_CHECKED, _capital(checks.doubt)
    if likeness == "Different":
        return True, "TwoDatabases", "The Secrets of the servers name two databases."
    return (
        None,
        "CannotTell",
        "The Secrets of the servers differ; whether they name two databases cannot be told from"
        " their text.",
    )


def _unseen(spec: DpeClusterSpec, core: CoreDatabase) -> _Said | None:
    """Return why it cannot be known what the servers use; None if the Secrets decide it."""
    outside = [member.name for member in spec.server.members if member.is_external]
    if outside:
        return (
            None,
            "MembersOutside",
            f"Server {' and '.join(outside)} runs outside the cluster: which core database it uses"
            " is set on its machine.",
        )
    if "Servers" not in core.deliver_to or not (core.env or core.mount_path):
        return (
            None,
            "NotDelivered",
            "The servers are not given the Secret (env, mountPath, deliverTo), so which core"
            " database they use cannot be seen.",
        )
    own = _overridden(spec, core)
    if own:
        return (
            None,
            "Overridden",
            f"{', '.join(own)} set by hand what comes out of the Secret, so which core database is"
            " used cannot be seen: take it out there.",
        )
    return None


def _overridden(spec: DpeClusterSpec, core: CoreDatabase) -> list[str]:
    """Places in the spec that win over what the core database's Secret would give."""
    names = {variable.name for variable in core.env}
    layers = [("server", spec.server.env, spec.server.volumes)]
    layers += [(f"server.members[{m.name}]", m.env, m.volumes) for m in spec.server.members]
    return [
        path
        for path, env, volumes in layers
        if any(variable.name in names for variable in env)
        or any(volume.mount_path == core.mount_path for volume in volumes)
    ]


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
