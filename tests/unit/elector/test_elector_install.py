# SPDX-License-Identifier: Apache-2.0
"""The copy of the elector into a pod, and the part of making it that depends on the machine."""

from __future__ import annotations

import importlib.util
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from dpe_elector import install
from dpe_elector.install import PARTS, main

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A little tree with everything that a real one has."""
    made = tmp_path / "tree"
    for name, mode in {
        "ld.so": 0o755,
        "bin/python3": 0o755,
        "lib/libc.so.6": 0o644,
        "lib/python3.11/os.pyc": 0o600,
        "packages/dpe_elector/__main__.py": 0o644,
    }.items():
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(mode)
    (made / "other").write_text("not ours")
    return made


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(folder)): (path.read_text(), stat.S_IMODE(path.stat().st_mode))
        for path in folder.rglob("*")
        if path.is_file()
    }


WHOLE = {
    "ld.so": ("ld.so", 0o555),
    "bin/python3": ("bin/python3", 0o555),
    "lib/libc.so.6": ("lib/libc.so.6", 0o444),
    "lib/python3.11/os.pyc": ("lib/python3.11/os.pyc", 0o444),
    "packages/dpe_elector/__main__.py": ("packages/dpe_elector/__main__.py", 0o444),
}


@pytest.mark.usefixtures("narrow_umask")
def test_everybody_can_read_and_start_the_copy_whatever_the_umask(
    tree: Path, tmp_path: Path
) -> None:
    target = tmp_path / "volume"
    assert main([str(target)], str(tree)) == 0
    assert contents(target) == WHOLE
    folders = [target, *(path for path in target.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o755}


def test_a_second_start_writes_nothing(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "volume"
    install.install(str(tree), str(target))
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    assert install.install(str(tree), str(target)) == "everything is there already"
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before


@pytest.mark.parametrize("damage", ["truncated", "missing", "changed", "added", "mode", "link"])
def test_a_damaged_copy_is_made_anew(tree: Path, tmp_path: Path, damage: str) -> None:
    target = tmp_path / "volume"
    install.install(str(tree), str(target))
    file = target / "lib/libc.so.6"
    file.chmod(0o644)
    match damage:
        case "truncated":
            os.truncate(file, 3)
        case "missing":
            file.unlink()
        case "changed":
            file.write_text("lib/libc.so.7")
        case "added":
            (target / "lib/libz.so").write_text("")
        case "mode":
            file.chmod(0o744)
        case "link":
            file.unlink()
            file.symlink_to(tree / "lib/libc.so.6")
    assert install.install(str(tree), str(target)) == "copied 1 of 4 parts"
    assert contents(target) == WHOLE
    assert (tree / "lib/libc.so.6").exists(), "what a link points to is not touched"


def test_a_copy_that_was_interrupted_is_cleared_away(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "volume"
    (target / ".new-lib/python3.11").mkdir(parents=True)
    (target / ".new-lib/python3.11/os.pyc").write_text("half")
    install.install(str(tree), str(target))
    assert contents(target) == WHOLE


def test_nothing_has_its_name_before_it_is_whole(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "volume"
    whole = {part: install.fingerprint(str(tree / part)) for part in PARTS}
    seen: list[str] = []
    real = install.copy

    def watched(source: str, to: str) -> None:
        seen.extend(part for part in PARTS if (target / part).exists())
        real(source, to)
        for part in seen:
            assert install.fingerprint(str(target / part)) == whole[part]

    monkeypatch.setattr(install, "copy", watched)
    install.install(str(tree), str(target))
    assert seen and "ld.so" not in seen, "the loader comes last"


@pytest.mark.parametrize("words", [[], ["relative"], ["/a", "/b"]])
def test_anything_but_one_absolute_folder_is_refused(words: list[str], tree: Path) -> None:
    assert main(words, str(tree)) == 2


def test_a_failure_names_the_file_and_the_cure(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, to: str) -> None:
        raise OSError(28, "No space left on device", to)

    monkeypatch.setattr(install, "copy", full)
    assert main([str(tmp_path / "volume")], str(tree)) == 1
    said = capsys.readouterr().err
    assert "/volume/.new-lib: No space left on device: the elector takes 20 MB" in said


@pytest.fixture(scope="module")
def make_tree() -> ModuleType:
    path = ROOT / "images/dpe-elector/make_tree.py"
    spec = importlib.util.spec_from_file_location("make_tree", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("loader", ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"])
def test_what_a_program_is_linked_to_is_read_on_both_machines(
    make_tree: ModuleType, loader: str
) -> None:
    output = (
        "\tlinux-vdso.so.1 (0x00007f2ecec90000)\n"
        "\tlibm.so.6 => /lib/somewhere/libm.so.6 (0x00007f2eceba6000)\n"
        f"\t{loader} (0x00007f2ecec92000)\n"
    )
    assert make_tree.linked(output) == {
        "libm.so.6": Path("/lib/somewhere/libm.so.6"),
        Path(loader).name: Path(loader),
    }
    with pytest.raises(ValueError, match="libz"):
        make_tree.linked("\tlibz.so.1 => not found\n")


def test_every_module_of_a_package_is_proved(make_tree: ModuleType) -> None:
    names = make_tree.modules_of(ROOT / "operator")
    assert {"dpe_elector", "dpe_elector.__main__", "dpe_elector.node", "dpe_memory.run"} <= set(
        names
    )
