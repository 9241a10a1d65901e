# SPDX-License-Identifier: Apache-2.0
"""Turn the output of `docker save` into an archive without the layers that a node has already.

Why: after a change of one source file an image differs in its last, small layer, but `docker save`
writes all of it (300 MB), and each node would read all of it. The result is an OCI layout, which
containerd accepts as long as every layer is either in the archive or in its store.

Usage: thin_archive.py SAVED TARGET < DIGESTS     (one digest a line: what all the nodes have)
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_GZIP_MAGIC = b"\x1f\x8b"


def write_thin_archive(saved: Path, target: Path, present: Iterable[str]) -> int:
    """Write the images of one archive as an OCI layout that lacks what is there already.

    Args:
        saved: what `docker save` wrote.
        target: the file to write.
        present: digests (`sha256:...`) of the layers to leave out.

    Returns:
        How many layers were written.

    Raises:
        KeyError: when `saved` is not what `docker save` writes.
    """
    done = set(present)
    written = 0
    index: list[dict[str, Any]] = []
    with tarfile.open(saved) as source, tarfile.open(target, "w") as sink:
        for image in json.load(_member(source, "manifest.json")):
            config = _member(source, image["Config"]).read()
            layers = []
            for path, diff in zip(
                image["Layers"], json.loads(config)["rootfs"]["diff_ids"], strict=True
            ):
                member = _resolve(source, path)
                layer = _layer(source, member, _digest_of_layer(path, diff))
                layers.append(layer)
                if layer["digest"] not in done:
                    _add(sink, layer["digest"], source.extractfile(member), member.size)
                    done.add(layer["digest"])
                    written += 1
            index += _image_entries(sink, config, layers, image["RepoTags"] or [], done)
        _add_file(sink, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add_file(sink, "index.json", _json({"schemaVersion": 2, "manifests": index}))
    return written


def _member(source: tarfile.TarFile, name: str) -> IO[bytes]:
    file = source.extractfile(source.getmember(name))
    if file is None:
        raise KeyError(name)
    return file


def _resolve(source: tarfile.TarFile, path: str) -> tarfile.TarInfo:
    """Find a layer's file; the older form of the archive links equal layers to each other."""
    member = source.getmember(path)
    while member.issym() or member.islnk():
        folder = Path(path).parent if member.issym() else Path()
        parts: list[str] = []
        for part in (folder / member.linkname).parts:
            if part == "..":
                parts.pop()
            else:
                parts.append(part)
        path = "/".join(parts)
        member = source.getmember(path)
    return member


def _digest_of_layer(path: str, diff: str) -> str:
    """Tell a layer's digest by the form of the archive.

    Newer engines name the file by its digest; the older form holds the plain tar, whose digest is
    the diff id.
    """
    return f"sha256:{Path(path).name}" if path.startswith("blobs/sha256/") else diff


def _layer(source: tarfile.TarFile, member: tarfile.TarInfo, digest: str) -> dict[str, Any]:
    file = source.extractfile(member)
    packed = file is not None and file.read(2) == _GZIP_MAGIC
    return {
        "mediaType": _LAYER + ("+gzip" if packed else ""),
        "digest": digest,
        "size": member.size,
    }


def _image_entries(
    sink: tarfile.TarFile,
    config: bytes,
    layers: list[dict[str, Any]],
    names: list[str],
    done: set[str],
) -> list[dict[str, Any]]:
    """Write an image's configuration and manifest; returns its index entries, one for each name."""
    blobs = [config]
    described = {"mediaType": _CONFIG, "digest": _sha256(config), "size": len(config)}
    manifest = _json(
        {"schemaVersion": 2, "mediaType": _MANIFEST, "config": described, "layers": layers}
    )
    blobs.append(manifest)
    for blob in blobs:
        if _sha256(blob) not in done:
            _add(sink, _sha256(blob), io.BytesIO(blob), len(blob))
            done.add(_sha256(blob))
    return [
        {
            "mediaType": _MANIFEST,
            "digest": _sha256(manifest),
            "size": len(manifest),
            "annotations": {"io.containerd.image.name": name},
        }
        for name in names
    ]


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _add(sink: tarfile.TarFile, digest: str, file: IO[bytes] | None, size: int) -> None:
    info = tarfile.TarInfo("blobs/sha256/" + digest.removeprefix("sha256:"))
    info.size = size
    sink.addfile(info, file)


def _add_file(sink: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    sink.addfile(info, io.BytesIO(data))


if __name__ == "__main__":
    count = write_thin_archive(Path(sys.argv[1]), Path(sys.argv[2]), sys.stdin.read().split())
    print(f"{count} layers in {sys.argv[2]}")
