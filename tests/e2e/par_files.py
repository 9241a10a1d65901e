# SPDX-License-Identifier: Apache-2.0
"""PAR files of a site in the tests: a ParStore on two existing claims, its runs and its copy."""

from __future__ import annotations

from tests.e2e.kubectl import Object, condition, eventually
from tests.e2e.site import Site
from tests.e2e.volumes import SharedVolumes

MASTER, REDUNDANT = "par-master", "par-redundant"
NAME = "files"
# Never by itself: the tests ask for each run.
NEVER = "0 3 1 1 *"


class Store:
    """The ParStore `files`, and what lies in its volumes."""

    def __init__(self, site: Site) -> None:
        self.kube = site.kube
        self.volumes = SharedVolumes(site.kube)
        self._asked = 0

    def make(self, site: str, files: dict[str, str]) -> None:
        """Make it on two new volumes, with these files in its master."""
        self.volumes.make(MASTER, REDUNDANT)
        self.volumes.write(MASTER, files)
        self.kube.apply(claim(MASTER), claim(REDUNDANT), self.manifest(site))

    def remove(self) -> None:
        """Take it away, with its claims."""
        self.kube.delete("parstore", NAME)
        # a pod on a node that is away holds its claims; who makes them anew waits for that
        self.kube.run("delete", "pvc", MASTER, REDUNDANT, "--wait=false")

    def manifest(self, site: str, schedule: str = NEVER, **sync: object) -> Object:
        """The resource; `sync`: more of its fields."""
        return {
            "apiVersion": "dpe.dev/v1alpha1",
            "kind": "ParStore",
            "metadata": {"name": NAME},
            "spec": {
                "clusterRef": {"name": site},
                "master": {"claimName": MASTER},
                "redundant": [{"name": "nightly", "claimName": REDUNDANT}],
                "sync": {
                    "schedule": schedule,
                    "timeZone": "Europe/Berlin",
                    "quietPeriod": "0s",
                    **sync,
                },
            },
        }

    def ask(self) -> Object:
        """Ask for a run and return what it came to."""
        self._asked += 1
        before = self.last().get("finishedAt")
        self.kube.annotate("parstore", NAME, sync_now=f"run {self._asked}")
        return eventually(
            lambda: run if (run := self.last()).get("finishedAt") not in (None, before) else None,
            timeout=180, what="the result of a run", describe=self.describe,
        )  # fmt: skip

    def last(self) -> Object:
        """What is known of the last run."""
        found: Object = self.kube.get("parstore", NAME).get("status", {}).get("lastRun", {})
        return found

    def copy(self) -> dict[str, str]:
        """The files of the copy by their paths."""
        files = self.volumes.read(REDUNDANT)
        return {name.removeprefix("current/"): text for name, text in files.items()}

    def condition(self, kind: str) -> Object:
        """A condition of the store."""
        return condition(self.kube.get("parstore", NAME), kind)

    def describe(self) -> str:
        """All that tells why a run did not do what was expected."""
        return (
            self.kube.run("get", "parstore,jobs,pods", "-o", "wide", check=False)
            + self.kube.run("describe", "parstore", NAME, check=False)
            + self.kube.run("logs", "-l", "app.kubernetes.io/component=par-sync", check=False)
        )


def claim(name: str) -> Object:
    """A claim that all nodes mount at once."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "dpe-shared",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
