# SPDX-License-Identifier: Apache-2.0
"""Make the tree that is copied into foreign images: `make_tree.py PACKAGES ROOT`.

Runs while the image is built, on Debian, as root. PACKAGES holds our packages; ROOT becomes the
root of an image which has nothing but the tree, the program that copies it, and the licences.

Into the tree go the interpreter, its loader, the shared objects of both, and of the standard
library only what our packages can reach by their imports. What was left out by mistake is found
here: at the end every module of ours is imported with the tree as the only thing there is.
"""

import importlib.util
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from modulefinder import ModuleFinder
from pathlib import Path

TREE = Path("opt/dpe-elector")
# found by name at run time, not by an import statement
ALWAYS = (
    "encodings.ascii",
    "encodings.idna",  # socket.getaddrinfo encodes every host by it
    "encodings.latin_1",
    "encodings.utf_8",
    "encodings.utf_16",
    "encodings.utf_16_be",
    "encodings.utf_16_le",
    "encodings.utf_32",
    "encodings.utf_32_be",
    "encodings.utf_32_le",  # json.loads of bytes looks at all of these
    "runpy",  # starts a package by its folder
    "traceback",  # a thread that fails
)
# Imported for one optional function each, which nothing of ours calls. Without this list half of
# the standard library would follow.
NEVER = (
    "asyncio", "bz2", "concurrent", "ctypes", "curses", "doctest", "gzip", "importlib.metadata",
    "logging", "lzma", "multiprocessing", "optparse", "pdb", "pickle", "pydoc", "readline",
    "subprocess", "tarfile", "unittest", "xml", "xmlrpc", "zipfile",
)  # fmt: skip


def main(packages: Path, root: Path) -> None:
    """Make everything below `root`."""
    tree = root / TREE
    objects = copy_library(needed(packages), tree / "lib" / f"python{_version()}")
    interpreter = Path(sys.executable).resolve()
    place(interpreter, tree / "bin/python3", 0o555)
    loader = copy_shared_objects([interpreter, *objects], tree)
    copy_packages(packages, tree / "packages")
    make_bootable(root, loader)
    prove(root, packages)


def needed(packages: Path) -> list[Path]:
    """Return the files of the standard library that `packages` can reach."""
    standard = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    dynamic = [str(Path(folder) / "lib-dynload") for folder in standard]
    finder = ModuleFinder([str(packages), *standard, *dynamic], excludes=list(NEVER))
    for name in (*ALWAYS, *modules_of(packages)):
        finder.import_hook(name)
    found = (getattr(module, "__file__", None) for module in finder.modules.values())
    files = {Path(file) for file in found if file}
    return sorted(file for file in files if packages not in file.parents)


def modules_of(packages: Path) -> list[str]:
    """Return the names of all modules below `packages`."""
    names = []
    for file in sorted(packages.rglob("*.py")):
        words = list(file.relative_to(packages).with_suffix("").parts)
        names.append(".".join(words[:-1] if words[-1] == "__init__" else words))
    return names


def copy_library(files: list[Path], library: Path) -> list[Path]:
    """Copy compiled modules without their sources; return the shared objects among them."""
    standard = Path(sysconfig.get_path("stdlib"))
    objects = [file for file in files if file.suffix == ".so"]
    for file in files:
        if file in objects:
            place(file, library / "lib-dynload" / file.name, 0o444)
            continue
        target = library / file.relative_to(standard).with_suffix(".pyc")
        target.parent.mkdir(parents=True, exist_ok=True)
        py_compile.compile(
            str(file),
            cfile=str(target),
            dfile=str(Path(f"python{_version()}") / file.relative_to(standard)),
            doraise=True,
            optimize=2,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        target.chmod(0o444)
    # the interpreter finds its prefix by these two
    assert (library / "os.pyc").exists() and (library / "lib-dynload").is_dir()
    return objects


def copy_shared_objects(programs: list[Path], tree: Path) -> Path:
    """Copy what `programs` are linked to, the loader under one name on every machine."""
    found: dict[str, Path] = {}
    for program in programs:
        done = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True)
        found.update(linked(done.stdout))
    loaders = {path for path in found.values() if path.name.startswith("ld-")}
    assert len(loaders) == 1, f"not one loader but {loaders}"
    loader = loaders.pop()
    place(loader.resolve(), tree / "ld.so", 0o555)
    for name, path in found.items():
        if path != loader:
            place(path.resolve(), tree / "lib" / name, 0o444)
    return loader


def linked(output: str) -> dict[str, Path]:
    """Read the output of ldd: names and files. Raises ValueError for one that is missing."""
    found = {}
    for line in output.splitlines():
        if "not found" in line:
            raise ValueError(line.strip())
        if match := re.match(r"\s*(?:(\S+) => )?(/\S+) \(0x", line):
            path = Path(match[2])
            found[match[1] or path.name] = path
    return found


def copy_packages(packages: Path, target: Path) -> None:
    """Copy our packages: sources, for readable errors, and compiled."""
    for file in sorted(packages.rglob("*.py")):
        copy = target / file.relative_to(packages)
        place(file, copy, 0o444)
        cache = Path(importlib.util.cache_from_source(str(copy)))
        cache.parent.mkdir(exist_ok=True)
        py_compile.compile(
            str(copy),
            cfile=str(cache),
            dfile=str("/" / TREE.relative_to("opt") / copy.relative_to(target.parent)),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        cache.chmod(0o444)


def make_bootable(root: Path, loader: Path) -> None:
    """Let the kernel start the interpreter directly in this image, for the program that copies."""
    link = root / str(loader).lstrip("/")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("/" / TREE / "ld.so")
    usual = root / "usr/lib"  # where every loader of Debian looks
    usual.parent.mkdir(parents=True, exist_ok=True)
    usual.symlink_to("/" / TREE / "lib")
    for folder in root.rglob("*"):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(0o755)


def prove(root: Path, packages: Path) -> None:
    """Import every module of ours where there is nothing but the tree."""
    names = [name for name in modules_of(packages) if not name.endswith("__main__")]
    script = (
        "import sys, importlib, json, socket\n"
        f"sys.path.append('/{TREE}/packages')\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "socket.getaddrinfo('127.0.0.1', 1); json.loads(b'{}')\n"
        f"assert sys.prefix == '/{TREE}', sys.prefix\n"
        "assert sys.getfilesystemencoding() == 'utf-8'\n"
    )
    program = f"/{TREE}/bin/python3"
    loader = [f"/{TREE}/ld.so", "--library-path", f"/{TREE}/lib"]
    for command in ([*loader, program], [program]):
        subprocess.run(
            ["/usr/sbin/chroot", str(root), *command, "-IBSc", script], check=True, env={}
        )


def place(source: Path, target: Path, mode: int) -> None:
    """Copy a file, with exactly this mode."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


if __name__ == "__main__":
    os.umask(0o022)
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
