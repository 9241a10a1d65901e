# SPDX-License-Identifier: Apache-2.0
"""What runs beside one and the same site of ours: a watcher of which one is to act, or a farm."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.kubectl import Kubectl, Object, eventually
from tests.e2e.site_manifests import farm
from tests.e2e.volumes import SharedVolumes
from tests.e2e.workflow import Component, is_ready, watcher

from dpe_bench import candidate, cases
from dpe_bench import single_manifests as manifests
from dpe_bench.baselines import SITE
from dpe_bench.ledger import Start
from dpe_bench.subjects import Ours

ROLES = {"singletons": "table-watcher", "farms": "processor"}
_QUIET_SECONDS = 5
_RECORD = "dpe.dev/elector-record"


def remove_volumes(cluster: Kubectl, *namespaces: str) -> None:
    """Take the volumes of namespaces away; without one: those of every subject here."""
    names = namespaces or tuple(f"bench-{about}-{name}" for about, name in KINDS)
    label = f"dpe.dev/test-volume in ({', '.join(names)})"
    cluster.run("delete", "pv", "-l", label, "--ignore-not-found", timeout=120)


class Beside(Ours):
    """A site of ours, and something that works for it."""

    def __init__(
        self, case: cases.Subject, cluster: Kubectl, images: Mapping[str, str], folder: Path
    ) -> None:
        super().__init__(case, cluster, images, folder)
        self.volumes = SharedVolumes(self.kube)

    @property
    def role(self) -> str:
        """Of its processes in the ledger."""
        return ROLES[self.about]

    def make(self) -> None:
        """The site, then what works for it."""
        super().make()
        self.kube.wait_ready("dpe", SITE, timeout=420)
        self.make_workers()

    def make_workers(self) -> None:
        """Apply what works for the site."""
        raise NotImplementedError

    def remove(self) -> None:
        """Take all of it away; volumes are not in the namespace."""
        super().remove()
        remove_volumes(self.cluster, self.kube.namespace)

    def settle(self) -> None:
        """The site is whole, and so is what works for it; and quiet for a while."""
        self.kube.wait_ready("dpe", SITE, timeout=420)
        for member in ("a", "b"):
            self.site.wait_member_state(member, "Up", timeout=180)
        self.settle_workers()
        time.sleep(_QUIET_SECONDS)

    def settle_workers(self) -> None:
        """Wait until what works for the site is whole."""
        raise NotImplementedError

    def wait_complete(self, deployment: str) -> None:
        """Wait until a Deployment is complete, with nothing on its way out."""
        self.kube.run(
            "rollout", "status", f"deployment/{deployment}", "--timeout=420s", timeout=430
        )
        eventually(
            lambda: not any(
                "deletionTimestamp" in pod["metadata"]
                for pod in self.kube.list("pod", {"app": deployment})
            ),
            timeout=420, every=2, what=f"no pod of {deployment} is on its way out",
        )  # fmt: skip


class Singleton(Beside):
    """A watcher of which one is to act."""

    about = "singletons"

    def name(self, _scenario: str) -> str:
        """What the component that a scenario hits is called; its table has the same name."""
        return manifests.NAME

    def component(self, scenario: str) -> str:
        """Its name in the ledger."""
        return f"{self.name(scenario)}-{self.role}"

    def acting(self, scenario: str) -> Start:
        """The one that acts, by the ledger.

        Raises:
            AssertionError: nobody does for a minute, or two do.
        """
        component = self.component(scenario)

        def only() -> str | None:
            found = self.ledger.acting(component)
            return found[0] if len(found) == 1 else None

        found = eventually(only, timeout=90, every=1, what=f"one of {component} acts")
        return Start(0.0, str(found))

    def settle_workers(self) -> None:
        self.wait_complete(manifests.NAME)
        self.acting("")


class OurSingleton(Singleton):
    """Standby watchers of this operator: one component for each profile of timings."""

    profiles: Mapping[str, str] = {"safe": "Safe", "fast": "Fast"}

    def name(self, scenario: str) -> str:
        return "fast" if scenario.endswith("-fast") else "safe"

    def make_workers(self) -> None:
        self.volumes.make(*(f"{name}-{self.role}-memory" for name in self.profiles))
        for name, profile in self.profiles.items():
            env, timings = manifests.watcher_env(), {"profile": profile}
            self.kube.apply(watcher(name, self.site, mode="Standby", timings=timings, env=env))

    def settle_workers(self) -> None:
        for name in self.profiles:
            component = Component(self.kube, "WorkflowTableWatcher", name)
            self._forget_ends(component)
            component.wait_ready(timeout=420)
            self._wait_candidates(component)
        for scenario in ("", "-fast"):
            self.acting(scenario)

    def _wait_candidates(self, component: Component) -> None:
        eventually(
            lambda: len(component.ready_pods()) == 2,
            timeout=300,
            what=f"two candidates of {component.name}",
            describe=component.describe,
        )

    def _forget_ends(self, component: Component) -> None:
        """A bench kills more often than a crash loop does: its kills are not to add up to one."""
        lease = component.lease_or_nothing()
        text = lease.get("metadata", {}).get("annotations", {}).get(_RECORD, "{}")
        record = json.loads(text)
        if record.pop("ends", None) is None:
            return
        record.pop("crashLooping", None)
        self.kube.annotate("lease", component.full_name, elector_record=json.dumps(record))


class PlainSingleton(Singleton):
    """A Deployment of one."""

    def make_workers(self) -> None:
        self.volumes.make(manifests.CLAIM)
        self.kube.apply(*manifests.plain_watcher(self.images["dpe-simulator"]))


class ClientGoSingleton(Singleton):
    """Two candidates of client-go."""

    def make_workers(self) -> None:
        image = candidate.image(self.images["dpe-simulator"], self.folder.parent)
        self.volumes.make(manifests.CLAIM)
        self.kube.apply(*manifests.client_go_watcher(image, self.kube.namespace))


class Farm(Beside):
    """Processors."""

    about = "farms"
    labels: Mapping[str, str] = {"app": manifests.FARM}

    def processors(self) -> list[Object]:
        """Their pods that are ready and stay."""
        return [pod for pod in self.pods(self.labels) if is_ready(pod)]

    def settle_workers(self) -> None:
        eventually(self._is_spread, timeout=420, every=3, what="a processor on each node")

    def _is_spread(self) -> bool:
        """Of two on one node, after a node was lost, one is replaced, for the node that is back."""
        pods = self.processors()
        kept = {pod["spec"]["nodeName"]: pod["metadata"]["uid"] for pod in pods}
        spare = [pod for pod in pods if pod["metadata"]["uid"] not in kept.values()]
        if len(pods) != manifests.PROCESSORS:
            return False
        if spare:
            self.replace(spare[0])
        return not spare


class OurFarm(Farm):
    """A ProcessorFarm of this operator."""

    labels: Mapping[str, str] = {"app.kubernetes.io/component": "processor"}

    def make_workers(self) -> None:
        processors = farm(SITE, manifests.JOB_TYPE, self.images["dpe-simulator"])
        self.site.manifest["spec"]["processors"] = [processors | {"replicas": manifests.PROCESSORS}]
        self.kube.apply(self.site.manifest)


class PlainFarm(Farm):
    """A Deployment of processors."""

    def make_workers(self) -> None:
        self.kube.apply(*manifests.plain_farm(self.images["dpe-simulator"]))


KINDS: dict[tuple[str, str], type[Beside]] = {
    ("singletons", "dpe-operator"): OurSingleton,
    ("singletons", "deployment"): PlainSingleton,
    ("singletons", "client-go"): ClientGoSingleton,
    ("farms", "dpe-operator"): OurFarm,
    ("farms", "deployment"): PlainFarm,
}
