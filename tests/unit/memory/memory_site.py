# SPDX-License-Identifier: Apache-2.0
"""A volume in a temporary folder, a Lease with versions like the API server's, and starts on both.

The Lease is the smallest thing that refuses what the API server refuses; the real one is met in
tests/integration/test_memory_lease.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dpe_elector.api_client import ApiError
from dpe_memory.decision import OnLoss
from dpe_memory.holding import Holder, Holding
from dpe_memory.report import ANNOTATION
from dpe_memory.run import Run, Stopped
from dpe_memory.settings import Settings
from dpe_memory.volume import volume_of

OWNER = "studio/WorkflowTableWatcher/news"
FOLDER = "workflowtablewatcher-news"


class FakeApi:
    """One Lease, kept in a file; `before_put` may change it first, as the elector's renewals do."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.before_put: Callable[[], None] = lambda: None
        self.puts = 0
        if not path.exists():
            self.make_anew()

    def make_anew(self) -> None:
        """What the operator does when somebody has deleted the Lease."""
        self.lease = {
            "metadata": {"name": "x", "resourceVersion": "1", "annotations": {}},
            "spec": {"leaseTransitions": 0, "holderIdentity": "", "renewTime": "then"},
        }

    @property
    def lease(self) -> dict[str, Any]:
        return dict(json.loads(self._path.read_text()))

    @lease.setter
    def lease(self, lease: dict[str, Any]) -> None:
        self._path.write_text(json.dumps(lease))

    def get(self, _path: str, *, timeout: float = 10.0) -> dict[str, Any]:
        return self.lease

    def put(self, _path: str, body: dict[str, Any], *, timeout: float = 10.0) -> dict[str, Any]:
        self.before_put()
        found = self.lease
        if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified")
        self.puts += 1
        return self._store(body)

    def edit(self, annotations: Mapping[str, str] | None = None, **spec: Any) -> None:
        """Change the Lease as somebody else."""
        found = self.lease
        found["spec"].update(spec)
        found["metadata"]["annotations"].update(annotations or {})
        self._store(found)

    def _store(self, lease: dict[str, Any]) -> dict[str, Any]:
        version = int(self.lease["metadata"]["resourceVersion"]) + 1
        metadata = {**lease["metadata"], "resourceVersion": str(version)}
        self.lease = {**lease, "metadata": metadata}
        return self.lease


@dataclass
class Site:
    """A watcher's volume and Lease. `take` is what the elector does before each start."""

    root: Path
    owner: str = OWNER
    on_loss: OnLoss = OnLoss.STOP
    wait: float = 0.0
    said: list[str] = field(default_factory=list)
    naps: Callable[[float], None] = lambda _: None

    def __post_init__(self) -> None:
        self.volume.mkdir(parents=True, exist_ok=True)
        self.api = FakeApi(self.root / "lease.json")
        self.link.parent.mkdir(exist_ok=True)

    @property
    def volume(self) -> Path:
        return self.root / "volume"

    @property
    def folder(self) -> Path:
        return self.volume / FOLDER

    @property
    def link(self) -> Path:
        return self.root / "pod" / "memory"

    def take(self, pod: str = "a") -> int:
        """Become the holder, with an epoch one higher than the Lease's; return it."""
        epoch = int(self.api.lease["spec"]["leaseTransitions"]) + 1
        record = {"identity": f"uid-{pod}_1", "epoch": epoch, "seconds": 15, "state": "held"}
        self.api.edit(
            {"dpe.dev/elector-record": json.dumps(record)},
            leaseTransitions=epoch,
            holderIdentity=f"uid-{pod}_1",
            acquireTime=os.urandom(8).hex(),
        )
        return epoch

    def run(self, epoch: int, pod: str = "a") -> Run:
        settings = Settings(
            volume=str(self.volume),
            folder=FOLDER,
            owner=self.owner,
            link=str(self.link),
            on_loss=self.on_loss,
            lease="x",
            namespace="studio",
            pod=pod,
            uid=f"uid-{pod}",
            epoch=epoch,
            wait=self.wait,
            command=("true",),
        )
        return Run(
            settings=settings,
            volume=volume_of(settings.volume, settings.folder, settings.owner, epoch),
            lease=Holding(
                self.api, "studio", "x", Holder(pod, settings.uid, epoch), lambda _: None
            ),
            say=self.said.append,
            sleep=self.naps,
        )

    def start(self, pod: str = "a") -> int:
        """Take the Lease and prepare the memory; return the epoch in force. Raises Stopped."""
        return self.run(self.take(pod), pod).prepare()

    def stopped(self, pod: str = "a") -> Stopped:
        """Start, which must be refused; return the refusal."""
        try:
            epoch = self.start(pod)
        except Stopped as stopped:
            return stopped
        raise AssertionError(f"was started, as epoch {epoch}")

    def report(self) -> dict[str, Any]:
        """Return the annotation."""
        return dict(json.loads(self.api.lease["metadata"]["annotations"][ANNOTATION]))

    def annotate(self, name: str, value: str) -> None:
        self.api.edit({f"dpe.dev/{name}": value})

    # --- what the watcher sees

    def write(self, **files: str) -> None:
        """Write memory files as the watcher does; `__` in a name is a slash."""
        for name, content in files.items():
            path = self.link / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def seen(self) -> dict[str, str]:
        return contents(self.link)

    def epochs(self) -> list[int]:
        """Return the complete epochs on the volume."""
        return sorted(
            int(path.parent.name.removeprefix("epoch-"))
            for path in self.folder.glob("epoch-*/COMPLETE")
        )

    def files(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch}" / "files"

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


def contents(folder: Path) -> dict[str, str]:
    """Return all files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
