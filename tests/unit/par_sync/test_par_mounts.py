# SPDX-License-Identifier: Apache-2.0
"""What is mounted where, and whether two places are one."""

from __future__ import annotations

from pathlib import Path

from dpe_par_sync.mounts import Mount, Spot, is_mount_point, parse_mounts, spot

# as a container sees it: two claims on one NFS server, one of them a sub-path, a tmpfs below
TABLE = """\
22 1 0:21 / / rw,relatime - overlay overlay rw
30 22 0:40 /claims/master /par/master rw,relatime shared:1 - nfs4 nas:/export rw
31 22 0:40 /claims/copy /par/redundant rw - nfs4 nas:/export rw
32 22 0:40 /claims/master/sub /other rw - nfs4 nas:/export rw
33 22 8:1 / /with\\040space\\134and\\011tab rw - ext4 /dev/sda1 rw
34 30 0:50 / /par/master/cache rw - tmpfs tmpfs rw
35 22 0:60 / /twice rw - tmpfs one rw
36 35 0:61 / /twice rw - tmpfs two rw
"""
MOUNTS = parse_mounts(TABLE)


def test_lines_are_read_with_their_escapes() -> None:
    assert MOUNTS[1] == Mount(Path("/par/master"), "0:40", Path("/claims/master"))
    assert MOUNTS[4].point == Path("/with space\\and\ttab")
    assert parse_mounts("") == parse_mounts("nonsense\n\n1 2 3\n") == ()


def test_only_the_exact_place_is_a_mount_point() -> None:
    assert is_mount_point(Path("/par/master"), MOUNTS)
    assert not is_mount_point(Path("/par/master/deep"), MOUNTS)
    assert not is_mount_point(Path("/par"), MOUNTS)


def test_a_place_is_found_through_the_nearest_mount() -> None:
    assert spot(Path("/par/master/x"), MOUNTS) == Spot("0:40", Path("/claims/master/x"))
    assert spot(Path("/par/master/cache/x"), MOUNTS) == Spot("0:50", Path("/x"))
    assert spot(Path("/home"), MOUNTS) == Spot("0:21", Path("/home"))
    assert spot(Path("/twice/x"), MOUNTS) == Spot("0:61", Path("/x")), "the last mount is seen"
    assert spot(Path("/x"), ()) is None


def test_one_folder_behind_two_mounts_is_seen() -> None:
    master, copy, sub = (
        spot(Path(path), MOUNTS) for path in ("/par/master", "/par/redundant", "/other")
    )
    assert master and copy and sub
    assert not master.overlaps(copy), "two claims on one server are two places"
    assert master.overlaps(sub) and sub.overlaps(master)
    assert master.overlaps(master)
    assert not Spot("0:40", Path("/a")).overlaps(Spot("0:41", Path("/a")))
    assert not Spot("0:40", Path("/a")).overlaps(Spot("0:40", Path("/ab")))
