# SPDX-License-Identifier: Apache-2.0
"""Starts of a watcher on a real folder: what it finds, what is refused, what stays."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from tests.unit.memory.memory_site import OWNER, Site, contents

from dpe_elector.api_client import ApiError
from dpe_memory import run as runs
from dpe_memory.decision import OnLoss, View
from dpe_memory.run import Stopped
from dpe_memory.volume import Volume


@pytest.fixture
def site(root: Path) -> Site:
    return Site(root)


def test_the_first_start_is_empty(site: Site) -> None:
    assert site.start() == 1
    assert os.readlink(site.link) == str(site.files(1))
    assert site.seen() == {}
    report = site.report()
    assert (report["state"], report["reason"]) == ("Ready", "FirstStart")
    assert (report["epoch"], report["from"], report["files"], report["bytes"]) == (1, 0, 0, 0)
    assert json.loads((site.folder / "OWNER").read_text())["owner"] == OWNER


def test_the_memory_follows_the_holder(site: Site) -> None:
    site.start("a")
    site.write(entries="1,2", tables__news="x")
    assert site.start("b") == 2
    assert site.seen() == {"entries": "1,2", "tables/news": "x"}
    report = site.report()
    assert (report["state"], report["reason"], report["pod"]) == ("Ready", "Carried", "b")
    assert (report["epoch"], report["from"], report["files"], report["bytes"]) == (2, 1, 2, 4)
    # what is in its folder is its own files and nothing of ours
    assert {path.name for path in site.link.iterdir()} == {"entries", "tables"}
    assert site.names() == {"OWNER", "epoch-1", "epoch-2"}


def test_a_late_write_of_a_dead_holder_reaches_nobody(site: Site) -> None:
    site.start("a")
    site.write(entries="1")
    site.start("b")
    (site.files(1) / "entries").write_text("late")
    (site.files(1) / "more").write_text("late")
    assert site.seen() == {"entries": "1"}
    site.start("a")
    assert site.seen() == {"entries": "1"}


def test_a_start_that_died_while_copying_is_passed_over_and_cleared(site: Site) -> None:
    site.start()
    site.write(entries="1")
    place = site.folder / f".epoch-{site.take()}.new" / "files"
    place.mkdir(parents=True)
    (place / "entries").write_text("half")
    assert site.start() == 3
    assert site.seen() == {"entries": "1"}
    assert site.names() == {"OWNER", "epoch-1", "epoch-3"}


def test_an_epoch_without_complete_is_passed_over(site: Site) -> None:
    site.start()
    site.write(entries="1")
    shutil.copytree(site.files(1), site.folder / "epoch-2" / "files")
    (site.folder / "epoch-2" / "files" / "entries").write_text("mixed")
    site.take()
    assert site.start() == 3
    assert site.seen() == {"entries": "1"}


def test_a_complete_of_another_epoch_proves_nothing(site: Site) -> None:
    site.start()
    site.write(entries="1")
    shutil.copytree(site.folder / "epoch-1", site.folder / "epoch-2")
    (site.files(2) / "entries").write_text("half a restore")
    site.take()
    site.start()
    assert site.seen() == {"entries": "1"}


# --- an epoch ahead of the Lease


@pytest.mark.parametrize("name", ["epoch-57", ".epoch-57.new", ".epoch-57.removed"])
def test_the_lease_is_lifted_above_what_the_volume_knows(site: Site, name: str) -> None:
    site.start()
    site.write(entries="1")
    (site.folder / name).mkdir()
    before = site.api.lease
    assert site.start() == 58
    assert site.api.lease["spec"]["leaseTransitions"] == 58
    record = json.loads(site.api.lease["metadata"]["annotations"]["dpe.dev/elector-record"])
    assert record["epoch"] == 58
    assert site.api.lease["spec"]["holderIdentity"] == "uid-a_1"
    assert site.api.lease["spec"]["renewTime"] == before["spec"]["renewTime"]
    assert site.seen() == {"entries": "1"}
    assert site.start() == 59


def test_a_restored_lease_loses_no_memory(site: Site) -> None:
    for number in range(1, 8):
        site.start()
        site.write(entries=str(number))
    site.api.edit(leaseTransitions=3)
    assert site.start() == 8
    assert site.seen() == {"entries": "7"}


@pytest.mark.parametrize("forgetful", ["volume", "Lease"])
def test_the_number_of_a_lost_memory_never_comes_again(site: Site, forgetful: str) -> None:
    """Its token accepted one loss; with the number anew it might accept another."""
    for _ in range(3):
        site.start()
        site.write(entries="x")
    if forgetful == "volume":
        shutil.rmtree(site.folder)
        site.api.edit(leaseTransitions=1)
    else:
        shutil.rmtree(site.folder / "epoch-3")
        site.api.make_anew()
    site.on_loss = OnLoss.START_EMPTY
    assert site.start() == 4
    assert site.api.lease["spec"]["leaseTransitions"] == 4


def test_a_deleted_lease_loses_no_memory(site: Site) -> None:
    site.start()
    site.start()
    site.write(entries="2")
    site.api.make_anew()
    assert site.start() == 3
    assert site.seen() == {"entries": "2"}
    assert site.report()["reason"] == "Carried"


def test_what_is_newer_is_left_alone(site: Site) -> None:
    """A start that was believed dead and comes to itself: everything newer is somebody else's."""
    site.start()
    site.write(entries="1")
    late = site.run(site.take("a"), "a")
    site.start("b")
    site.write(entries="3")
    (site.folder / ".epoch-9.new").mkdir()
    before = {path: path.stat().st_mtime_ns for path in site.folder.glob("*epoch-[39]*/**/*")}
    late.volume.make_place()
    late.volume.commit(1, late.volume.prepare(1))
    late.volume.tidy(None, site.said.append)
    assert before == {
        path: path.stat().st_mtime_ns for path in site.folder.glob("*epoch-[39]*/**/*")
    }
    assert (site.folder / ".epoch-9.new").exists()


def test_lifting_is_tried_again_when_the_elector_renews_meanwhile(site: Site) -> None:
    site.start()
    (site.folder / "epoch-57").mkdir()
    renewals = iter(range(3))

    def renew() -> None:
        if next(renewals, None) is not None:
            site.api.edit(renewTime="now")

    epoch = site.take()
    site.api.before_put = renew
    assert site.run(epoch).prepare() == 58
    assert site.api.lease["spec"]["renewTime"] == "now"


def test_who_is_not_the_holder_any_more_lifts_nothing(site: Site) -> None:
    site.start()
    (site.folder / "epoch-57").mkdir()
    epoch = site.take("a")
    site.api.before_put = lambda: site.take("b") and None
    with pytest.raises(Stopped) as stopped:
        site.run(epoch, "a").prepare()
    assert stopped.value.status == runs.EXIT_LEASE
    assert site.api.lease["spec"]["leaseTransitions"] == epoch + 1
    assert site.names() == {"OWNER", "epoch-1", "epoch-57"}


def test_an_earlier_start_of_the_same_pod_lifts_nothing(site: Site) -> None:
    site.start()
    (site.folder / "epoch-57").mkdir()
    epoch = site.take("a")
    site.api.before_put = lambda: site.take("a") and None
    with pytest.raises(Stopped) as stopped:
        site.run(epoch, "a").prepare()
    assert stopped.value.status == runs.EXIT_LEASE


def test_a_lease_that_cannot_be_lifted_stops_the_start(site: Site) -> None:
    site.start()
    site.write(entries="1")
    (site.folder / "epoch-57").mkdir()
    epoch = site.take()

    def forbid() -> None:
        raise ApiError(403, "Forbidden", "no")

    site.api.before_put = forbid
    with pytest.raises(Stopped) as stopped:
        site.run(epoch).prepare()
    assert stopped.value.status == runs.EXIT_AHEAD
    assert "57" in str(stopped.value)


# --- loss


def lose(site: Site, how: str) -> None:
    if how == "Gone":
        shutil.rmtree(site.folder)
    elif how == "Empty":
        for path in site.files(3).iterdir():
            path.unlink()
    else:
        shutil.rmtree(site.folder / "epoch-3")


@pytest.fixture(params=["Gone", "Empty", "Older"])
def how(request: pytest.FixtureRequest, site: Site) -> str:
    """A site whose third memory, of 2 files, has been lost."""
    site.start()
    site.write(entries="1", tables="x")
    site.start()
    site.write(entries="2")
    site.start()
    site.write(entries="3")
    lose(site, request.param)
    return str(request.param)


def after(how: str) -> dict[str, str]:
    return {"entries": "2", "tables": "x"} if how == "Older" else {}


def test_a_loss_stops_everybody(site: Site, how: str) -> None:
    names = site.names() if site.folder.exists() else None
    for _ in range(3):
        stopped = site.stopped()
        assert stopped.status == runs.EXIT_LOST
        report = site.report()
        assert (report["state"], report["reason"], report["lost"]) == ("Lost", how, 3)
        assert report["token"] in report["message"]
        assert (report["epoch"], report["files"]) == (3, 2), "the last memory stays told"
        assert (site.names() if site.folder.exists() else None) == names


def test_a_loss_is_reported_once(site: Site, how: str) -> None:
    site.stopped()
    epoch, puts = site.take("b"), site.api.puts
    with pytest.raises(Stopped):
        site.run(epoch, "b").prepare()
    assert site.api.puts == puts


def test_an_accepted_loss_goes_on(site: Site, how: str) -> None:
    site.stopped()
    site.annotate("accept-memory-loss", site.report()["token"])
    epoch = site.start()
    assert site.seen() == after(how)
    report = site.report()
    assert (report["state"], report["reason"], report["lost"]) == ("Ready", "LossAccepted", 3)
    assert "token" not in report
    site.write(entries="new")
    site.start()
    assert site.seen() == {**after(how), "entries": "new"}
    assert site.report()["from"] == epoch


@pytest.mark.parametrize("value", ["true", "3", "", "3-000000"])
def test_only_the_very_token_accepts(site: Site, how: str, value: str) -> None:
    site.annotate("accept-memory-loss", value)
    assert site.stopped().status == runs.EXIT_LOST


def test_an_old_acceptance_does_not_accept_a_later_loss(site: Site, how: str) -> None:
    site.stopped()
    site.annotate("accept-memory-loss", site.report()["token"])
    site.start()
    site.write(entries="new")
    site.start()
    shutil.rmtree(site.folder)
    assert site.stopped().status == runs.EXIT_LOST


def test_start_empty_goes_on_at_once(site: Site, how: str) -> None:
    site.on_loss = OnLoss.START_EMPTY
    site.start()
    assert site.seen() == after(how)
    assert site.report()["reason"] == "StartedEmpty"


def test_without_the_lease_the_volume_remembers(site: Site, how: str) -> None:
    site.api.make_anew()
    if how == "Gone":
        # now nothing in the world says that there ever was a memory
        site.start()
        assert site.report()["reason"] == "FirstStart"
        return
    stopped = site.stopped()
    assert stopped.status == runs.EXIT_LOST
    assert site.report()["reason"] == how


def test_a_memory_that_comes_back_ends_the_waiting(site: Site) -> None:
    site.start()
    site.write(entries="1")
    site.start()
    (site.files(2) / "entries").unlink()
    site.wait = 60.0
    naps = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            (site.files(2) / "entries").write_text("restored")

    site.naps = nap
    assert site.start() == 3
    assert site.seen() == {"entries": "restored"}
    assert len(naps) == 3 + runs.QUIET_SECONDS / runs.LOOK_SECONDS
    assert sum("is empty" in line for line in site.said) == 1, "said once, not at each look"


def test_an_acceptance_is_seen_while_waiting(site: Site) -> None:
    site.start()
    site.write(entries="1")
    site.start()
    (site.files(2) / "entries").unlink()
    site.wait = 60.0
    site.naps = lambda _: site.annotate("accept-memory-loss", site.report()["token"])
    assert site.start() == 3
    assert site.seen() == {}


def test_the_older_copy_is_not_taken_for_the_newest(site: Site) -> None:
    """A COMPLETE that was deleted by mistake: the memory is there, and nobody starts without it."""
    site.start()
    site.write(entries="1")
    site.start()
    site.write(entries="2")
    (site.folder / "epoch-2" / "COMPLETE").unlink()
    assert site.stopped().status == runs.EXIT_LOST
    assert contents(site.files(2)) == {"entries": "2"}


def test_an_empty_memory_that_was_always_empty_is_no_loss(site: Site) -> None:
    site.start()
    site.start()
    assert site.start() == 3


# --- owners


@pytest.mark.parametrize(
    "owner",
    [
        "other/WorkflowTableWatcher/news",
        "studio/WorkflowFolderWatcher/news",
        "studio/WorkflowTableWatcher/olds",
    ],
)
def test_a_foreign_folder_is_refused_until_it_is_adopted(site: Site, owner: str) -> None:
    site.start()
    site.write(entries="1")
    before = {path: path.stat().st_mtime_ns for path in site.folder.rglob("*")}
    site.owner = owner
    site.api.make_anew()
    assert site.stopped().status == runs.EXIT_FOREIGN
    report = site.report()
    assert (report["state"], report["owner"]) == ("ForeignOwner", OWNER)
    assert "epoch" not in report
    assert {path: path.stat().st_mtime_ns for path in site.folder.rglob("*")} == before
    for value in ("true", owner, f"{OWNER}x", "unknown"):
        site.annotate("adopt-memory", value)
        assert site.stopped().status == runs.EXIT_FOREIGN
    site.annotate("adopt-memory", OWNER)
    site.start()
    assert site.seen() == {"entries": "1"}
    assert site.report()["adopted"] == OWNER
    # and the one it was taken from is the stranger now
    site.owner = OWNER
    site.api.make_anew()
    assert site.stopped().status == runs.EXIT_FOREIGN


def test_a_deleted_owner_is_found_in_the_epochs(site: Site) -> None:
    site.start()
    site.write(entries="1")
    (site.folder / "OWNER").unlink()
    site.owner = "other/WorkflowTableWatcher/news"
    assert site.stopped().status == runs.EXIT_FOREIGN
    site.owner = OWNER
    site.start()
    assert site.seen() == {"entries": "1"}
    assert json.loads((site.folder / "OWNER").read_text())["owner"] == OWNER


def test_an_owner_that_cannot_be_read_is_nobody_s_to_take(site: Site) -> None:
    site.start()
    (site.folder / "OWNER").write_text("garbage")
    assert site.stopped().status == runs.EXIT_FOREIGN
    assert site.report()["owner"] == "unknown"
    site.annotate("adopt-memory", "unknown")
    assert site.start()


@pytest.mark.parametrize("content", ["", '{"owner": "stud', '{"owner": "unknown"}'])
def test_half_an_owner_of_nothing_is_one_that_was_being_made(site: Site, content: str) -> None:
    site.folder.mkdir()
    (site.folder / "OWNER").write_text(content)
    assert site.start() == 1
    assert json.loads((site.folder / "OWNER").read_text())["owner"] == OWNER


@pytest.mark.parametrize("found", [None, "", '{"owner": "studio/WorkflowTableWatcher/olds"}'])
def test_an_owner_that_came_since_the_look_is_not_overwritten(
    site: Site, found: str | None
) -> None:
    """Two first starts at once, or two that adopt one folder: only what was judged is replaced."""
    site.annotate("adopt-memory", "studio/WorkflowTableWatcher/olds")
    site.folder.mkdir()
    owner = site.folder / "OWNER"
    if found is not None:
        owner.write_text(found)
    other = '{"owner": "other/WorkflowTableWatcher/news"}'
    run = site.run(site.take())
    real = run.volume.look

    def look() -> View:
        view = real()
        owner.write_text(other)
        return view

    run.volume.look = look  # type: ignore[method-assign]
    with pytest.raises(Stopped) as stopped:
        run.prepare()
    assert stopped.value.status == runs.EXIT_FOREIGN
    assert site.report()["owner"] == "other/WorkflowTableWatcher/news"
    assert owner.read_text() == other
    assert site.names() == {"OWNER"}


# --- the volume


def test_a_volume_that_is_not_mounted_is_said(site: Site) -> None:
    site.volume.rmdir()
    assert site.stopped().status == runs.EXIT_VOLUME
    assert (site.report()["state"], site.report()["reason"]) == ("Failed", "Missing")


def test_a_full_volume_leaves_everything_as_it_was(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.start()
    site.write(entries="1" * 1000)
    real = os.write

    def full(descriptor: int, content: bytes) -> int:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".new/files/entries"):
            real(descriptor, bytes(content)[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content)

    monkeypatch.setattr(os, "write", full)
    assert site.stopped().status == runs.EXIT_VOLUME
    assert (site.report()["state"], site.report()["reason"]) == ("Failed", "DiskFull")
    assert site.report()["epoch"] == 1
    assert site.names() == {"OWNER", "epoch-1"}
    monkeypatch.setattr(os, "write", real)
    site.start()
    assert site.seen() == {"entries": "1" * 1000}


def test_a_full_volume_is_tried_again_without_old_epochs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 7):
        site.start()
        site.write(entries=str(number))
    doomed = site.folder / ".epoch-3.new"
    doomed.mkdir()
    real = os.mkdir

    def full(path: str, *more: int, **words: int) -> None:
        if str(path).endswith(".epoch-7.new/files") and doomed.exists():
            raise OSError(errno.EDQUOT, "Disk quota exceeded", path)
        real(path, *more, **words)

    monkeypatch.setattr(os, "mkdir", full)
    assert site.start() == 7
    assert site.seen() == {"entries": "6"}


def test_a_folder_in_place_of_the_link(site: Site) -> None:
    site.link.mkdir()
    site.start()
    assert site.link.is_symlink()
    site.link.unlink()
    site.link.mkdir()
    (site.link / "entries").write_text("not on the volume")
    assert site.stopped().status == runs.EXIT_VOLUME
    assert site.report()["reason"] == "LinkBlocked"
    assert contents(site.link) == {"entries": "not on the volume"}


def test_a_blocked_link_does_not_fill_the_volume(site: Site) -> None:
    """The elector tries again for as long as it takes, and other watchers share the volume."""
    for number in ("1", "2"):
        site.start()
        site.write(entries=number)
    site.link.unlink()
    site.link.mkdir()
    (site.link / "entries").write_text("not on the volume")
    for _ in range(12):
        assert site.stopped().status == runs.EXIT_VOLUME
        assert site.report()["reason"] == "LinkBlocked"
        assert site.names() == {"OWNER", "epoch-1", "epoch-2"}
    shutil.rmtree(site.link)
    site.start()
    assert site.seen() == {"entries": "2"}


@pytest.mark.parametrize("broken", ["point", "remember"])
def test_a_start_that_fails_after_its_copy_does_not_fill_the_volume(
    site: Site, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    for number in ("1", "2"):
        site.start()
        site.write(entries=number)

    def refuse(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(runs if broken == "point" else Volume, broken, refuse)
        for _ in range(12):
            assert site.stopped().status == runs.EXIT_VOLUME
            assert contents(site.files(site.epochs()[-1])) == {"entries": "2"}
    # equal ones count once: the start's own, the one it was copied from, and what differs
    assert site.epochs() == [1, 13, 14]
    site.start()
    assert site.seen() == {"entries": "2"}


def test_only_five_are_kept_of_one_day_and_strangers_are_left_alone(site: Site) -> None:
    site.start()
    (site.folder / "notes.txt").write_text("by a person")
    (site.folder / "epoch-x").mkdir()
    (site.folder / "epoch-007").mkdir()
    elsewhere = site.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    (site.folder / ".epoch-1.removed").symlink_to(elsewhere)
    for number in range(12):
        site.write(entries=str(number))
        site.start()
    # the first one cannot be removed, and that stops nobody
    assert site.epochs() == [1, 9, 10, 11, 12, 13]
    assert (elsewhere / "precious").exists()
    assert {"notes.txt", "epoch-x", "epoch-007"} <= site.names()


def test_a_watcher_that_restarts_without_change_pushes_nothing_out(site: Site) -> None:
    for number in range(4):
        site.start()
        site.write(entries=str(number))
    for _ in range(20):
        site.start()
    assert site.epochs() == [1, 2, 3, 23, 24]
    assert contents(site.files(3)) == {"entries": "2"}
