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
