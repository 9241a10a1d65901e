# SPDX-License-Identifier: Apache-2.0
"""Which of a container's processes is which, as the machine that it runs on sees them."""

from pathlib import Path

from tests.chaos.kind.pods import processes

ELECTOR = b"python3\0dpe-elector\0--lease\0news\0--\0dpe-memory\0--\0dpe-simulator\0"
OWN, ANOTHER = "ab" * 32, "cd" * 32
POD = {"status": {"containerStatuses": [{"containerID": f"containerd://{OWN}"}]}}


def process(proc: Path, pid: int, inside: int, words: bytes, *, container: str = OWN) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "cgroup").write_text(f"0::/kubelet/cri-containerd-{container}.scope\n")
    (folder / "cmdline").write_bytes(words)
    (folder / "status").write_text(
        f"Name:\tx\nNSpid:\t{pid}\t{inside + 500}\t{inside}\nKthread:\t0\n"
    )


def test_guard_elector_and_command_are_told_apart(tmp_path: Path) -> None:
    process(tmp_path, 40, 1, ELECTOR)
    process(tmp_path, 41, 8, ELECTOR)
    process(tmp_path, 42, 9, b"dpe-memory\0--\0dpe-simulator\0")
    process(tmp_path, 43, 10, b"dpe-simulator\0table-watcher\0")
    process(tmp_path, 50, 1, ELECTOR, container=ANOTHER)
    (tmp_path / "self").mkdir()
    tree = processes(POD, proc=tmp_path)
    assert (tree.guard, tree.elector, tree.commands) == (40, 41, [42, 43])
    assert tree.of("guard") == [40]
    assert tree.of("elector") == [41]
    assert tree.of("command") == [42, 43]
    assert tree.of("all") == [40, 41, 42, 43]


def test_without_an_elector_all_of_it_is_struck(tmp_path: Path) -> None:
    process(tmp_path, 40, 1, b"dpe-simulator\0server\0")
    tree = processes(POD, proc=tmp_path)
    assert tree.elector == 0
    assert {tuple(tree.of(detail)) for detail in ("all", "command", "elector", "guard")} == {(40,)}


def test_of_a_candidate_that_stands_by_all_is_struck_for_its_command(tmp_path: Path) -> None:
    process(tmp_path, 40, 1, ELECTOR)
    process(tmp_path, 41, 8, ELECTOR)
    assert processes(POD, proc=tmp_path).of("command") == [40, 41]


def test_nothing_runs(tmp_path: Path) -> None:
    assert processes(POD, proc=tmp_path).of("all") == []


def test_a_container_without_an_id_has_no_processes(tmp_path: Path) -> None:
    """Or every process of the machine would be struck."""
    process(tmp_path, 40, 1, ELECTOR)
    none: list[list[dict[str, str]]] = [[], [{}], [{"containerID": ""}], [{"containerID": "x://"}]]
    for states in none:
        assert processes({"status": {"containerStatuses": states}}, proc=tmp_path).of("all") == []
    assert processes({"status": {}}, proc=tmp_path).of("all") == []
