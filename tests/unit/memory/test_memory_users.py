# SPDX-License-Identifier: Apache-2.0
"""Pods that run as different users of one group, as fsGroup makes them; never as root."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.memory.memory_site import Site, contents

GROUP = 65123
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become others")


@pytest.fixture
def site(root: Path) -> Site:
    made = Site(root)
    for path in (root, *root.rglob("*")):
        os.chown(path, -1, GROUP)
        path.chmod(0o2770 if path.is_dir() else 0o660)
    return made


def as_user(uid: int, act: Callable[[], object]) -> None:
    """Do it in a process of that user; what it asserts counts here."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([GROUP])
            os.setgid(uid)
            os.setuid(uid)
            os.umask(0o002)
            act()
            status = 0
        except BaseException:
            import traceback  # noqa: PLC0415 - only in the child

            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_another_user_of_the_group_carries_on(site: Site) -> None:
    def first() -> None:
        site.start("a")
        site.write(entries="x", folder__inner="y")
        for path in site.link.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)  # as the usual umask makes them

    as_user(65001, first)
    for uid in (65002, 65001, 65002, 65001):
        as_user(uid, lambda: site.start("a"))
    assert contents(site.files(5)) == {"entries": "x", "folder/inner": "y"}
    assert site.epochs() == [4, 5], "equal ones are removed, whoever made them"


def test_what_another_user_may_not_read_is_said(site: Site) -> None:
    def first() -> None:
        site.start("a")
        site.write(secret="x")
        (site.link / "secret").chmod(0o600)

    def second() -> None:
        assert site.stopped("b").status == 83
        report = site.report()
        assert report["reason"] == "NotAllowed"
        assert "secret" in report["message"]

    as_user(65001, first)
    as_user(65002, second)
    as_user(65001, lambda: site.start("a"))
    assert contents(site.files(3)) == {"secret": "x"}


def test_what_is_written_into_a_copy_belongs_to_the_group_of_the_volume(site: Site) -> None:
    """A folder with the set-group-id bit, as fsGroup makes it, hands its group on to new files."""

    def first() -> None:
        site.start("a")
        site.write(entries="x", folder__inner="y")
        site.start("a")
        os.umask(0o007)
        site.write(entries2="x", folder__inner2="y", new__inner="z")

    as_user(65001, first)
    as_user(65002, lambda: site.start("b"))
    assert {path.stat().st_gid for path in site.files(2).rglob("*")} == {GROUP}
    assert len(contents(site.files(3))) == 5
    modes = {path.stat().st_mode & 0o7777 for path in site.files(3).rglob("*") if path.is_dir()}
    assert modes == {0o2775, 0o2770}
