# SPDX-License-Identifier: Apache-2.0
"""What a ParStore says of itself: conditions, findings, events, fields of the status."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import par_sync_name
from dpe_operator.api.par_store import ParStoreTemplate, ParSync
from dpe_operator.builders.claims import CLAIM
from dpe_operator.builders.par_claims import Location, claim_name, locations
from dpe_operator.planning.claims import claim_problems, volume_of
from dpe_operator.planning.conditions import Conditions, timestamp
from dpe_operator.planning.objects import Obj, Ref, dig
from dpe_operator.planning.ownership import own_object
from dpe_operator.planning.par_record import Runs, some_files
from dpe_operator.planning.par_times import moment_of, next_due, overdue_at
from dpe_operator.planning.plan import Notice, Situation
from dpe_operator.planning.summary import Part

LOCATIONS_READY: Final = "LocationsReady"
SYNC_READY: Final = "SyncReady"
SYNCED: Final = "Synced"
COPY_FRESH: Final = "CopyFresh"
DIVERGENT: Final = "Divergent"
LOCATIONS_APART: Final = "LocationsApart"
REGISTRY_DECLARED: Final = "RegistryDeclared"
_MARGIN: Final = timedelta(seconds=2)


def locations_part(situation: Situation, claims: Sequence[Ref]) -> Part:
    """Say whether the claims behind the locations can be used."""
    troubles = list(claim_problems(claims, situation.observed))
    if troubles:
        text = "; ".join(trouble.text for trouble in troubles)
        hard = any(trouble.hard for trouble in troubles)
        return Part(LOCATIONS_READY, False, "ClaimNotUsable", text, hard=hard)
    return Part(LOCATIONS_READY, True, "Usable", "The locations are there.")


def sync_parts(situation: Situation, store: ParStoreTemplate, runs: Runs) -> list[Part]:
    """Say whether the copy is set up, how its last run ended, and whether the copy is fresh."""
    if store.sync is None:
        return []
    return [
        _set_up(situation, store, runs),
        _last_run(situation, store, runs),
        _freshness(situation, store, runs),
    ]


def _set_up(situation: Situation, store: ParStoreTemplate, runs: Runs) -> Part:
    assert store.sync is not None
    if not situation.environment.par_sync_image:
        text = "the operator was not told the image of the copy (chart value image.parSync.name)"
        return Part(SYNC_READY, False, "NoImage", text, hard=True)
    name = par_sync_name(situation.name)
    if own_object(situation, Ref("CronJob", situation.namespace, name)) is None:
        return Part(SYNC_READY, False, "NotMade", "the CronJob has not been made yet")
    if runs.troubles:
        text = "; ".join(trouble.text for trouble in runs.troubles)
        return Part(SYNC_READY, False, "RunDoesNotStart", text, hard=True)
    if store.sync.suspend:
        text = "The schedule is suspended (sync.suspend): only runs on demand are made."
        return Part(SYNC_READY, True, "Suspended", text)
    return Part(SYNC_READY, True, "Scheduled", f"Copied at {_schedule(store)}.")


def _schedule(store: ParStoreTemplate) -> str:
    assert store.sync is not None
    return f"{store.sync.schedule} ({store.sync.time_zone})"


def _last_run(situation: Situation, store: ParStoreTemplate, runs: Runs) -> Part:
    if runs.lost is not None:
        job = runs.lost["job"]
        text = (
            f"Job {job} failed without a result of its own: {runs.lost['message']} (kubectl logs"
            f" job/{job} may say more)"
        )
        return Part(SYNCED, False, runs.lost["reason"], text)
    if runs.last is None:
        # in brackets: the sentence ends, and what is to be copied still has no full stop at its end
        text = f"No run has ended yet (to run now: {_how_to_run(situation)})."
        return Part(SYNCED, None, "NoRunYet", text)
    reason = str(runs.last.get("reason") or runs.last["result"])
    text = str(runs.last.get("message") or runs.last["result"])
    if runs.last["result"] == "Succeeded":
        return Part(SYNCED, True, reason, text)
    refused = runs.last["result"] == "Refused"
    word = "refused" if refused else "failed"
    at = runs.last["finishedAt"]
    return Part(SYNCED, False, reason, f"the run of {at} was {word}: {text}", hard=refused)


def _how_to_run(situation: Situation) -> str:
    kind, name = situation.resource["kind"].lower(), situation.name
    note = f"{constants.ANNOTATION_SYNC_NOW}={timestamp(situation.now)[:10]}"
    return f"kubectl annotate {kind} {name} {note}"


def _freshness(situation: Situation, store: ParStoreTemplate, runs: Runs) -> Part:
    assert store.sync is not None
    since = moment_of(dig(runs.success, "finishedAt"))
    if since is None:
        return _first_copy(situation, store.sync)
    of = f"the copy is of {timestamp(since)}"
    if store.sync.suspend:
        return Part(COPY_FRESH, None, "Suspended", f"The schedule is suspended; {of}.")
    end = overdue_at(store.sync, since)
    if end is not None and end <= situation.now:
        text = f"{of}, older than the schedule {_schedule(store)} allows"
        return Part(COPY_FRESH, False, "TooOld", text)
    return Part(COPY_FRESH, True, "AsScheduled", f"{of[0].upper()}{of[1:]}.")


def _first_copy(situation: Situation, sync: ParSync) -> Part:
    """Say whether the first copy is still to come, or should have been made long ago."""
    begun = _set_up_at(situation)
    end = overdue_at(sync, begun) if begun is not None and not sync.suspend else None
    if begun is None or end is None or end > situation.now:
        return Part(COPY_FRESH, None, "NoCopyYet", "No run has succeeded yet.")
    text = (
        f"no run has succeeded since the schedule was set up at {timestamp(begun)}, and one should"
        f" have by {timestamp(end)}"
    )
    return Part(COPY_FRESH, False, "NoCopyYet", text)


def _set_up_at(situation: Situation) -> datetime | None:
    """Return since when Kubernetes has the schedule; None: it has none of ours yet."""
    ref = Ref("CronJob", situation.namespace, par_sync_name(situation.name))
    return moment_of(dig(own_object(situation, ref), "metadata", "creationTimestamp"))


def state_findings(conditions: Conditions, store: ParStoreTemplate, runs: Runs) -> None:
    """State what does not count for Ready: edits on the redundant side, and what is declared."""
    if store.sync is not None:
        _state_divergent(conditions, store, runs)
    if store.registry is not None:
        count = sum(len(key.values) for key in store.registry.keys)
        conditions.set(
            REGISTRY_DECLARED,
            None,
            "NotVerified",
            f"{count} registry values are declared, not verified in DPE.",
        )


def _state_divergent(conditions: Conditions, store: ParStoreTemplate, runs: Runs) -> None:
    assert store.sync is not None
    if runs.last and runs.last.get("reason") == "RedundantEdited":
        conditions.set(DIVERGENT, True, "RedundantEdited", str(runs.last.get("message", "")))
        return
    found = runs.divergent
    if found is None:
        conditions.set(DIVERGENT, None, "NotCompared", "No run has compared the locations yet.")
        return
    count, names = found
    if count:
        text = f"{count} files were edited on the redundant side and are left in place: {names}."
        cure = " Bring the edits into the master, or delete those files."
        conditions.set(DIVERGENT, True, "LeftInPlace", text + cure)
    elif some_files(runs.last, "overwritten")[0]:
        conditions.set(DIVERGENT, False, "Overwritten", _overwritten(runs.last))
    else:
        conditions.set(DIVERGENT, False, "NoEdits", "No file was edited on the redundant side.")


def _overwritten(run: Obj | None) -> str:
    count, names = some_files(run, "overwritten")
    text = f"{count} files were edited on the redundant side and replaced"
    return f"{text}; the edits are in the history: {names}."


def state_apart(conditions: Conditions, situation: Situation, store: ParStoreTemplate) -> None:
    """State whether the two locations are on different storage.

    A finding: the loss of what both lie on would take both, and only people know what that is.
    """
    if not store.redundant:
        return
    both = list(locations(store))
    backends = [_backend(situation, location) for location in both]
    classes = [_storage_class(situation, location) for location in both]
    if None not in backends and backends[0] == backends[1]:
        text = f"Both locations are on {backends[0]}, whose loss takes both: move one of them."
        conditions.set(LOCATIONS_APART, False, "SameBackEnd", text)
    elif classes[0] and classes[0] == classes[1]:
        text = (
            f"Both locations are of storage class {classes[0]}, so probably on the same storage,"
            " whose loss takes both: choose another class for one of them."
        )
        conditions.set(LOCATIONS_APART, False, "SameStorageClass", text)
    elif None not in backends:
        text = f"The locations are on {backends[0]} and {backends[1]}."
        conditions.set(LOCATIONS_APART, True, "Different", text)
    else:
        text = "What stands behind the locations cannot be seen (chart value rbac.clusterReads)."
        conditions.set(LOCATIONS_APART, None, "NotVisible", text)


def _claim(situation: Situation, location: Location) -> Ref | None:
    name = claim_name(situation.name, location)
    return Ref(CLAIM, situation.namespace, name) if name else None


def _storage_class(situation: Situation, location: Location) -> str:
    claim = _claim(situation, location)
    live = situation.observed.get(claim) if claim else None
    return str(dig(live, "spec", "storageClassName", default=""))


# How drivers name their server in a volume's attributes; `source` of SMB holds the share too.
_SERVERS: Final = ("server", "source", "clusterID", "mfsmaster_host", "monitors")


def _backend(situation: Situation, location: Location) -> str | None:
    """Name what a location lies on, as far as its definition tells; None: it does not."""
    if location.nfs is not None:
        return f"NFS server {location.nfs.server}"
    claim = _claim(situation, location)
    volume = volume_of(claim, situation.observed) if claim else None
    spec = dig(situation.observed.get(volume) if volume else None, "spec", default={})
    if "nfs" in spec:
        return f"NFS server {spec['nfs'].get('server')}"
    about = dig(spec, "csi", "volumeAttributes", default={})
    for key in _SERVERS:
        if about.get(key):
            host = str(about[key]).removeprefix("//").split("/")[0]
            return f"{dig(spec, 'csi', 'driver')} {host}"
    return None


def status_fields(
    situation: Situation, store: ParStoreTemplate | None, runs: Runs, on_demand: Obj | None
) -> Obj:
    """Return the fields of the status beside the conditions."""
    due = upcoming(situation, store)
    return {
        "lastRun": runs.lost or runs.last,
        "lastSuccess": {
            key: runs.success[key]
            for key in ("finishedAt", "files", "bytes")
            if runs.success and key in runs.success
        },
        "nextRun": timestamp(due) if due else None,
        "onDemand": on_demand,
        "running": runs.running,
    }


def upcoming(situation: Situation, store: ParStoreTemplate | None) -> datetime | None:
    """Return when the next run is due; None: there is no schedule in force."""
    if store is None or store.sync is None or store.sync.suspend:
        return None
    return next_due(store.sync, situation.now)


def look_again(
    situation: Situation, store: ParStoreTemplate | None, runs: Runs, also: datetime | None = None
) -> float | None:
    """Return in how many seconds something is to be said or done that no event tells of; `also` is
    another moment for it."""
    moments = [upcoming(situation, store), runs.look_again, also]
    since = moment_of(dig(runs.success, "finishedAt")) or _set_up_at(situation)
    if store is not None and store.sync is not None and since is not None:
        moments.append(overdue_at(store.sync, since))
    waits = [moment - situation.now for moment in moments if moment and moment > situation.now]
    return (min(waits) + _MARGIN).total_seconds() if waits else None


def run_notices(situation: Situation, runs: Runs) -> Iterator[Notice]:
    """Yield events about a run that has ended since the reconcile before."""
    before = dig(situation.resource, "status", "lastRun", default={})
    now = runs.lost or runs.last
    if now is None or (before.get("finishedAt"), before.get("job")) == (
        now.get("finishedAt"),
        now.get("job"),
    ):
        return
    text = f"{now.get('reason', '')}: {now.get('message', '')}"
    if now["result"] == "Succeeded":
        yield Notice("Normal", "Synced", text)
    else:
        yield Notice("Warning", f"Sync{now['result']}", text)
    count, names = some_files(now, "divergent")
    if count:
        yield Notice(
            "Warning", "Divergent", f"{count} files were edited on the redundant side: {names}"
        )
    if some_files(now, "overwritten")[0]:
        yield Notice("Warning", "Overwritten", _overwritten(now))
