# SPDX-License-Identifier: Apache-2.0
"""One run, start to end: check, plan, decide, copy, verify, record.

Everything here touches volumes and may hang with them; `supervisor` runs it in a process that it
can leave behind. A run may be killed at any point: what it had not finished the next one does.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from dpe_par_sync import manifest, mounts
from dpe_par_sync.config import Compare, Config
from dpe_par_sync.decision import Decision, Rules, decide
from dpe_par_sync.facts import Facts, Observer
from dpe_par_sync.files import digest, look, remove_tree, sync_volume
from dpe_par_sync.history import append_result, drop_links, history_folder, prune
from dpe_par_sync.identity import Pairing
from dpe_par_sync.install import Done, Installer, Roots, staged_entry
from dpe_par_sync.manifest import Entries, Entry
from dpe_par_sync.places import Adoption, Places
from dpe_par_sync.result import (
    FULL,
    MOST_WARNINGS,
    Failed,
    Figures,
    Names,
    Outcome,
    Refused,
    Result,
    shown,
    some,
    told,
    volume_full,
)
from dpe_par_sync.rsync import Rsync


@dataclass
class Progress:
    """What is known so far; a run that ends early reports that much."""

    figures: Figures = field(default_factory=Figures)
    warnings: list[str] = field(default_factory=list)
    paired: bool = False

    def note(self, **changes: object) -> None:
        """Set figures by name."""
        self.figures = replace(self.figures, **changes)  # type: ignore[arg-type]


class Run:
    """One run. `run` names it, `log` takes lines for people, `now` is the wall clock."""

    def __init__(
        self,
        config: Config,
        adoption: Adoption,
        run: str,
        *,
        log: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._adoption = adoption
        self._run = run
        self._log = log
        self._now = now
        table = Path(mounts.MOUNT_INFO).read_text(encoding="utf-8", errors="surrogateescape")
        self._places = Places(config, mounts.parse_mounts(table))
        self.progress = Progress()
        self._late = False

    def result(self, template: Result) -> Result:
        """Run, and return `template` with the outcome; never raises Refused, Failed or OSError."""
        try:
            outcome, reason, message = Outcome.SUCCEEDED, *self._work()
        except Refused as refused:
            outcome, reason, message = Outcome.REFUSED, refused.reason, str(refused)
            if refused.divergent:
                self.progress.note(divergent=Names.of(refused.divergent))
        except Failed as failed:
            outcome, reason, message = Outcome.FAILED, failed.reason, str(failed)
        except OSError as wrong:
            outcome, reason = Outcome.FAILED, "CopyFailed"
            message = f"A volume could not be read or written: {told(wrong)}."
            if wrong.errno in FULL:
                reason, message = volume_full().reason, str(volume_full())
        self.progress.note(warnings=tuple(self.progress.warnings[:MOST_WARNINGS]))
        return replace(
            template,
            outcome=outcome,
            reason=reason,
            message=message,
            figures=self.progress.figures,
        )

    def record(self, result: Result) -> None:
        """Append the result to the history on the volume, if the volume is known to be ours."""
        if self.progress.paired:
            try:
                append_result(self._places.in_state("results.jsonl"), result.line())
            except OSError as wrong:  # it is told elsewhere, too
                self._log(f"the result cannot be added to results.jsonl: {wrong}")

    def _work(self) -> tuple[str, str]:
        config, places = self._config, self._places
        self.progress.warnings += places.check()
        rsync = Rsync(config.master, config.redundant.current)
        os.umask(config.umask)
        pairing = self._pair()
        entries = self._entries()
        self._log("plan: comparing")
        plan, answer = rsync.plan(config.compare, config.exclude)
        places.check_plan(plan)
        observer = Observer(
            places.master,
            places.current,
            entries,
            trust=config.compare is Compare.SIZE_AND_TIME,
        )
        facts = observer.facts(plan)
        self.progress.note(files=facts.files, bytes=facts.bytes)
        if not facts.files:
            raise _master_empty(config.master)
        decision = self._decide(facts, pairing, complete=answer.complete)
        self._log(
            f"decide: copy {len(decision.copy)}, delete {decision.deletions}, leave "
            f"{len(decision.divergent)} edited, defer {len(decision.deferred)}"
        )
        done = self._carry_out(rsync, facts, observer, decision, entries)
        self._verify(rsync, facts, done)
        if not answer.complete:
            raise Failed("MasterUnreadable", f"rsync could not read all of it: {answer.errors}")
        return _success(pairing, done, self.progress.figures)

    def _pair(self) -> Pairing:
        """Judge the marks; before any is written the master must have files."""
        marks = self._places.read_marks()
        if marks.master is None or marks.redundant is None:
            self._check_not_empty()
        pairing = self._places.pair(marks, self._adoption)
        self.progress.paired = True
        self._log(f"marks: {pairing}")
        return pairing

    def _check_not_empty(self) -> None:
        for _, _, names in os.walk(self._places.master):
            if names:
                return
        raise _master_empty(self._config.master)

    def _entries(self) -> Entries:
        """Read the manifest; what a killed run has left is taken in, and its rest cleared away."""
        places = self._places
        self._clean(lambda: remove_tree(places.in_state("staging")))
        path, journal_path = places.in_state("manifest.json"), places.in_state("journal.json")
        entries, journal = manifest.load(path), manifest.load(journal_path)
        if entries is None or journal is None:
            self.progress.warnings.append(
                "the manifest could not be read: files that differ are taken for edited ones"
            )
        entries = entries or {}
        if journal:
            self._log(f"repair: a run was cut off; {len(journal)} files looked at")
            entries = manifest.recover(entries, journal, places.current)
            folder = history_folder(places.state)
            self._clean(lambda: drop_links(folder, journal, places.current))
            try:
                manifest.save(path, entries)
            except OSError as wrong:
                if wrong.errno not in FULL:
                    raise
                self._late = True  # the history may make room, once it is decided to go on
                return entries
        manifest.remove(journal_path)
        return entries

    def _save_late(self, entries: Entries) -> None:
        """Write what a full volume had no room for; until then the journal alone knows it."""
        if self._late:
            manifest.save(self._places.in_state("manifest.json"), entries)
            manifest.remove(self._places.in_state("journal.json"))

    def _decide(self, facts: Facts, pairing: Pairing, *, complete: bool) -> Decision:
        config = self._config
        rules = Rules(
            now=self._now(),
            on_divergence=config.on_divergence,
            limit=None if pairing is Pairing.ACCEPTED else config.limit,
            quiet=config.quiet_seconds,
            complete=complete,
            one_name=self._places.one_name(),
            spent=self._adoption.spent(pairing),
        )
        decision = decide(facts.subjects, rules)
        self.progress.note(
            divergent=Names.of(decision.divergent),
            deferred=len(decision.deferred),
            skipped=Names.of(decision.skipped),
        )
        return decision

    def _carry_out(
        self,
        rsync: Rsync,
        facts: Facts,
        observer: Observer,
        decision: Decision,
        before: Entries,
    ) -> Done:
        places = self._places
        roots = Roots(
            places.master,
            places.current,
            places.in_state("staging", self._run),
            places.in_state("history", self._run),
        )
        self._prune()  # a lower number has to make room before the copy needs it
        self._save_late(before)
        try:
            staged, gone = self._stage(rsync, roots, facts, decision)
            done = self._install(roots, facts, observer, decision, staged, before)
        finally:
            self._clean(lambda: remove_tree(places.in_state("staging")))
        done.deferred |= gone.deferred
        done.failed |= gone.failed
        self._prune()
        self._count(decision, done)
        return done

    def _prune(self) -> None:
        """Delete what is beyond the limit of the history; only once it is decided to go on."""
        folder, runs = history_folder(self._places.state), self._config.history_runs
        self._clean(lambda: prune(folder, runs, self._run))

    def _clean(self, work: Callable[[], None]) -> None:
        """Remove what is of no use any more; that it cannot be is no reason to stop."""
        try:
            work()
        except OSError as wrong:
            self.progress.warnings.append(f"old files of the program cannot be removed: {wrong}")

    def _install(
        self,
        roots: Roots,
        facts: Facts,
        observer: Observer,
        decision: Decision,
        staged: Entries,
        before: Entries,
    ) -> Done:
        """Put everything in its place, and remember it."""
        places = self._places
        if staged:
            manifest.save(places.in_state("journal.json"), staged)
        places.count_text()
        installer = Installer(roots, facts, observer)
        done = installer.run(decision, staged)
        sync_volume(places.volume)
        entries = self._completed(installer.entries(decision, staged, before), facts, decision)
        if entries != before:
            manifest.save(places.in_state("manifest.json"), entries)
        manifest.remove(places.in_state("journal.json"))
        return done

    def _stage(
        self, rsync: Rsync, roots: Roots, facts: Facts, decision: Decision
    ) -> tuple[Entries, Done]:
        """Copy what is to be copied beside its place; returns it, and what could not be had."""
        staged: Entries = {}
        missing = Done()
        if not decision.copy:
            return staged, missing
        self._log(f"copy: {len(decision.copy)} files")
        os.makedirs(roots.staging, exist_ok=True)
        answer = rsync.stage(decision.copy, Path(os.fsdecode(roots.staging)))
        sync_volume(roots.staging)
        for path in decision.copy:
            ready = staged_entry(roots, path, facts.master[path].size, answer)
            if look(os.path.join(roots.master, path)) != facts.master[path]:
                missing.deferred.add(path)  # changed or taken away meanwhile: next time
            elif isinstance(ready, Entry):
                staged[path] = ready
            else:
                missing.failed[path] = ready
        return staged, missing

    def _completed(self, entries: Entries, facts: Facts, decision: Decision) -> Entries:
        """Take into the manifest what is equal to the master but was not put there by us, or whose
        time has been set."""
        places = self._places
        for path in (*decision.same, *decision.retime):
            target = os.path.join(places.current, path)
            found = look(target)
            entry = entries.get(path)
            if found is None or (entry is not None and entry.stands_at(found)):
                continue
            entries.pop(path, None)
            try:
                # both are read: the file may have been edited since rsync compared them
                content = digest(target)
                if content == digest(os.path.join(places.master, path)):
                    entries[path] = Entry(found.size, found.mtime_ns, content)
            except OSError as wrong:
                self._log(f"manifest: {shown(path)} left out: {wrong}")
        return entries

    def _count(self, decision: Decision, done: Done) -> None:
        left = {*decision.divergent, *done.divergent}
        gone = done.copied | done.deleted
        overwritten = [path for path in decision.overwritten if path in gone]
        deferred = {*decision.deferred, *done.deferred}
        self.progress.note(
            copied=len(done.copied),
            deleted=len(done.deleted),
            restored=decision.restored,
            retimed=len(done.retimed),
            divergent=Names.of(left),
            overwritten=Names.of(overwritten),
            deferred=len(deferred),
        )
        if done.untimed:
            self.progress.warnings.append(
                f"the times of {done.untimed} equal files could not be set: not their owner"
            )
        if decision.skipped:
            self.progress.warnings.append(
                f"{len(decision.skipped)} links, special files or names that differ in case only "
                f"are not copied: {some(decision.skipped)}"
            )

    def _verify(self, rsync: Rsync, facts: Facts, done: Done) -> None:
        """Compare what was copied once more; the rest was compared by the plan."""
        places = self._places
        wrong = []
        for path in rsync.unequal(done.copied) if done.copied else ():
            source = look(os.path.join(places.master, path))
            if source == facts.master[path]:
                wrong.append(path)
        if wrong:
            raise Failed(
                "VerificationFailed",
                f"{len(wrong)} copied files are not equal to the master: {some(wrong)}. Check the "
                f"storage of the redundant volume, and whether another program writes there.",
            )
        if done.failed:
            raise _incomplete(done)
        self.progress.note(verified=True)


def _master_empty(master: Path) -> Refused:
    return Refused(
        "MasterEmpty",
        f"There is no file in the master {master}: nothing is deleted for that. Check that the "
        f"right volume is mounted, and restore the master if it was emptied.",
    )


def _incomplete(done: Done) -> Failed:
    path, why = sorted(done.failed.items())[0]
    return Failed(
        "CopyIncomplete",
        f"{len(done.failed)} files could not be handled, all others were: {shown(path)}: {why}. "
        f"Check the rights of the sync pod's user on both volumes, the space on the redundant one, "
        f"and for a file that cannot be read the storage.",
    )


def _success(pairing: Pairing, done: Done, figures: Figures) -> tuple[str, str]:
    parts = [f"{figures.files} files, {figures.copied} copied, {figures.deleted} deleted"]
    if figures.overwritten.count:
        parts.append(
            f"{figures.overwritten.count} edited on the redundant side, overwritten and kept in "
            f"the history"
        )
    if figures.divergent.count:
        parts.append(
            f"{figures.divergent.count} edited on the redundant side and left in place: bring the "
            f"edits into the master or delete those files"
        )
    if figures.deferred:
        parts.append(f"{figures.deferred} being changed, left for the next run")
    reason = {Pairing.FIRST: "FirstCopy", Pairing.ADOPT: "Adopted"}.get(pairing)
    changed = done.copied or done.deleted or done.retimed
    return reason or ("Copied" if changed else "UpToDate"), "; ".join(parts) + "."
