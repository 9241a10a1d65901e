# SPDX-License-Identifier: Apache-2.0
"""A start that is killed before any of its changes, each in turn, and what the next one makes of
it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.memory.memory_faults import CHANGES, KILLED, Child
from tests.unit.memory.memory_site import OWNER, Site, contents

from dpe_memory.copying import Copying

MOST_CHANGES = 400


def nothing(_site: Site) -> dict[str, str]:
    return {}


def carried(site: Site) -> dict[str, str]:
    site.start()
    site.write(entries="1,2,3", tables__news__a="x", tables__empty="")
    (site.link / "folder").mkdir()
    (site.link / "tables" / "link").symlink_to("news/a")
    return {"entries": "1,2,3", "tables/news/a": "x", "tables/empty": ""}


def full_house(site: Site) -> dict[str, str]:
    """As many epochs as are kept, one too many, and what dead starts have left."""
    for number in range(6):
        site.start()
        site.write(entries=str(number))
    (site.folder / f".epoch-{site.take()}.new" / "files").mkdir(parents=True)
    shutil.copytree(site.files(6), site.folder / f"epoch-{site.take()}" / "files")
    (site.folder / ".epoch-1.removed" / "files").mkdir(parents=True)
    return {"entries": "5"}


def restored_lease(site: Site) -> dict[str, str]:
    for number in range(3):
        site.start()
        site.write(entries=str(number))
    site.api.make_anew()
    return {"entries": "2"}


def accepted_loss(site: Site) -> dict[str, str]:
    for number in range(2):
        site.start()
        site.write(entries=str(number))
    site.start()
    shutil.rmtree(site.folder / "epoch-3")
    site.stopped()
    site.annotate("accept-memory-loss", site.report()["token"])
    return {"entries": "1"}


def adopted(site: Site) -> dict[str, str]:
    site.owner = "other/WorkflowTableWatcher/news"
    site.start()
    site.write(entries="theirs")
    site.owner = OWNER
    site.api.make_anew()
    site.annotate("adopt-memory", "other/WorkflowTableWatcher/news")
    return {"entries": "theirs"}


def again_at(root: Path, at: int) -> Site:
    """Return the scene anew."""
    shutil.copytree(root / "scene", root / str(at), symlinks=True)
    return Site(root / str(at))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "scene",
    [
        nothing,
        carried,
        full_house,
        # their parts are in the others, and their mixtures in the model
        pytest.param(restored_lease, marks=pytest.mark.level2),
        pytest.param(accepted_loss, marks=pytest.mark.level2),
        pytest.param(adopted, marks=pytest.mark.level2),
    ],
)
def test_whenever_it_is_killed_the_next_start_has_the_memory(
    root: Path, scene: Callable[[Site], dict[str, str]]
) -> None:
    memory = scene(Site(root / "scene"))
    for at in range(1, MOST_CHANGES):
        site = again_at(root, at)
        epochs = {epoch: contents(site.files(epoch)) for epoch in site.epochs()}
        child = Child(site, site.take("a"), "a", at)
        for epoch in site.epochs():
            # each complete epoch is whole, and those of others are as they were
            assert contents(site.files(epoch)) == epochs.get(epoch, memory), f"change {at}"
        assert not epochs or max(epochs) in site.epochs() or child.epoch in site.epochs()
        again = site.start("b")
        assert site.seen() == memory, f"change {at}"
        assert site.names() <= {"OWNER", *(f"epoch-{number}" for number in range(1, again + 1))}
        shutil.rmtree(site.root)
        if child.ready:
            assert at > 15, "nothing was killed: the changes are not seen"
            return
        assert child.status == KILLED
    raise AssertionError("it never came to an end")


@pytest.mark.timeout(300)
def test_a_start_that_freezes_and_comes_back_too_late_changes_nothing(root: Path) -> None:
    """Everything of it sleeps before one of its changes, while another pod starts and works."""
    memory = full_house(Site(root / "scene"))
    for at in range(1, MOST_CHANGES):
        site = again_at(root, at)
        child = Child(site, site.take("a"), "a", at, freeze=True)
        if not child.frozen:
            assert child.ready
            return
        epoch = site.start("b")
        assert site.seen() == memory
        site.write(entries="new", more="x")
        child.thaw()
        assert contents(site.files(epoch)) == {"entries": "new", "more": "x"}, f"change {at}"
        site.start("b")
        assert site.seen() == {"entries": "new", "more": "x"}, f"change {at}"
        shutil.rmtree(site.root)
    raise AssertionError("it never came to an end")


def test_everything_is_flushed_before_it_counts(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines lose their power: a name must not be durable before what it names."""
    site = Site(root)
    carried(site)
    done: list[tuple[str, str]] = []

    def watched(name: str) -> None:
        real = getattr(os, name)

        def call(first: object, *words: object, **more: object) -> object:
            place = f"/proc/self/fd/{first}"
            path = os.readlink(place) if isinstance(first, int) else str(first)
            done.append((name, os.path.relpath(path, site.folder)))
            return real(first, *words, **more)

        monkeypatch.setattr(os, name, call)

    for name in CHANGES:
        watched(name)
    site.start()
    renamed = done.index(("rename", ".epoch-2.new"))
    before = {path for name, path in done[:renamed] if name == "fsync"}
    inside = ".epoch-2.new/files"
    assert {
        ".epoch-2.new",
        inside,
        *(f"{inside}/{path}" for path in ("entries", "tables", "tables/news", "folder")),
        *(f"{inside}/tables/{path}" for path in ("news/a", "empty")),
    } <= before
    last_write = max(at for at, (name, _) in enumerate(done[:renamed]) if name == "write")
    assert ("fsync", done[last_write][1]) in done[last_write:renamed]
    complete = done.index(("replace", "epoch-2/.COMPLETE.new"))
    assert ("fsync", ".") in done[renamed:complete]
    assert ("fsync", "epoch-2/.COMPLETE.new") in done[renamed:complete]
    assert ("fsync", "epoch-2") in done[complete:]


def test_a_start_that_fails_in_any_way_leaves_no_half_copy(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(root)
    carried(site)

    def broken(self: Copying, sleep: object = None) -> None:
        (Path(self.target) / "entries").write_text("half")
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Copying, "run", broken)
    assert site.stopped().status == 83
    assert site.report()["reason"] == "VolumeFailed"
    assert site.names() == {"OWNER", "epoch-1"}
