# SPDX-License-Identifier: Apache-2.0
"""hack/cluster.d/thin_archive.py: what is left out, and that what stays is a whole OCI layout."""

import gzip
import hashlib
import importlib.util
import io
import json
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_SCRIPT = Path(__file__).parents[3] / "hack" / "cluster.d" / "thin_archive.py"


@pytest.fixture(scope="module")
def thin() -> ModuleType:
    """The script as a module; it lies outside every package."""
    spec = importlib.util.spec_from_file_location("thin_archive", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _config(*layers: bytes) -> bytes:
    return json.dumps(
        {"rootfs": {"diff_ids": [f"sha256:{_sha(layer)}" for layer in layers]}}
    ).encode()


def _write(path: Path, files: dict[str, bytes | str]) -> Path:
    """Write a tar; a value of type str is a symbolic link."""
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def _saved_by_old_engine(folder: Path) -> Path:
    """Two images with a common first layer, as Docker 20.10 writes them: plain layers, equal ones linked."""
    first, second = _config(b"base", b"one"), _config(b"base", b"two")
    manifest = [
        {
            "Config": "1.json",
            "RepoTags": ["localhost/a:1"],
            "Layers": ["l1/layer.tar", "l2/layer.tar"],
        },
        {
            "Config": "2.json",
            "RepoTags": ["localhost/b:1"],
            "Layers": ["l3/layer.tar", "l4/layer.tar"],
        },
    ]
    return _write(
        folder / "saved.tar",
        {
            "1.json": first,
            "2.json": second,
            "l1/layer.tar": b"base",
            "l2/layer.tar": b"one",
            "l3/layer.tar": "../l1/layer.tar",
            "l4/layer.tar": b"two",
            "manifest.json": json.dumps(manifest).encode(),
        },
    )


def _read(path: Path) -> dict[str, bytes]:
    files = {}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            assert member.name not in files, "nothing is written twice"
            files[member.name] = file.read()
    return files


def _manifests(files: dict[str, bytes]) -> dict[str, Any]:
    """The image manifests by image name; every blob's name is checked against its content on the way."""
    for name, content in files.items():
        if name.startswith("blobs/sha256/"):
            assert name.endswith(_sha(content))
    return {
        entry["annotations"]["io.containerd.image.name"]: json.loads(
            files["blobs/sha256/" + entry["digest"].removeprefix("sha256:")]
        )
        for entry in json.loads(files["index.json"])["manifests"]
    }


def test_everything_is_sent_to_a_node_that_has_nothing(thin: ModuleType, tmp_path: Path) -> None:
    written = thin.write_thin_archive(_saved_by_old_engine(tmp_path), tmp_path / "thin.tar", [])
    files = _read(tmp_path / "thin.tar")
    assert written == 3, "base, one, two: the common layer only once"
    images = _manifests(files)
    assert set(images) == {"localhost/a:1", "localhost/b:1"}
    assert [layer["digest"] for layer in images["localhost/b:1"]["layers"]] == [
        f"sha256:{_sha(b'base')}",
        f"sha256:{_sha(b'two')}",
    ]
    assert images["localhost/a:1"]["config"]["digest"] == f"sha256:{_sha(_config(b'base', b'one'))}"


def test_layers_of_the_node_are_left_out_but_stay_named(thin: ModuleType, tmp_path: Path) -> None:
    present = [f"sha256:{_sha(b'base')}", f"sha256:{_sha(b'one')}"]
    written = thin.write_thin_archive(
        _saved_by_old_engine(tmp_path), tmp_path / "thin.tar", present
    )
    files = _read(tmp_path / "thin.tar")
    assert written == 1
    assert f"blobs/sha256/{_sha(b'base')}" not in files
    assert f"blobs/sha256/{_sha(b'two')}" in files
    assert _manifests(files)["localhost/a:1"]["layers"][0]["size"] == len(b"base")


def test_packed_layers_of_newer_engines_keep_their_own_digest(
    thin: ModuleType, tmp_path: Path
) -> None:
    packed = gzip.compress(b"base", mtime=0)
    path = f"blobs/sha256/{_sha(packed)}"
    manifest = [{"Config": "c.json", "RepoTags": ["x:1", "x:2"], "Layers": [path]}]
    saved = _write(
        tmp_path / "saved.tar",
        {"c.json": _config(b"base"), path: packed, "manifest.json": json.dumps(manifest).encode()},
    )
    thin.write_thin_archive(saved, tmp_path / "thin.tar", [])
    images = _manifests(_read(tmp_path / "thin.tar"))
    assert images["x:1"] == images["x:2"]
    layer = images["x:1"]["layers"][0]
    assert layer["digest"] == f"sha256:{_sha(packed)}"
    assert layer["mediaType"].endswith("+gzip")


def test_anything_else_than_an_archive_of_images_is_refused(
    thin: ModuleType, tmp_path: Path
) -> None:
    saved = _write(tmp_path / "saved.tar", {"readme": b"hello"})
    with pytest.raises(KeyError, match=r"manifest\.json"):
        thin.write_thin_archive(saved, tmp_path / "thin.tar", [])
