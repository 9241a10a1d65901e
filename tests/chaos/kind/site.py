# SPDX-License-Identifier: Apache-2.0
"""A busy site on the kind cluster: servers, balancers, a farm, singletons, clients, and people."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psycopg
from dpe_bench.baselines import database_port
from dpe_bench.ledger import Ledger
from dpe_bench.single_subjects import remove_volumes
from dpe_bench.subjects import node_address
from tests.chaos.frontend import BALANCER, SERVERS
from tests.chaos.kind.plan import Layout
from tests.chaos.kind.snapshot import Part
from tests.e2e.kubectl import Kubectl, Object, eventually
from tests.e2e.operator_release import RELEASE
from tests.e2e.placement import control_plane_node
from tests.e2e.site import Site
from tests.e2e.site_manifests import (
    certificate_objects,
    dpe_cluster,
    namespace,
    postgres,
    restricted_pod,
)
from tests.e2e.volumes import SharedVolumes
from tests.e2e.workflow import Component, component, watcher

from dpe_simulator import content
from dpe_simulator.database import connect

NAMESPACE, NAME, FARM = "chaos", "radio", "audio"
LABEL = "dpe.dev/chaos"
OPERATOR, CLIENTS = "operator", "clients"
PROCESSORS = 3
_TABLES = {"news": "Fast", "ingest": "Safe"}
# Of the scheduler's clock a minute lasts 2 s, so a trigger comes every 10 s.
_CLOCK_RATE, _SCHEDULE = 30, "*/5 * * * *"
# An entry comes, and one goes, this often: somewhat more than one workflow a second.
_CHANGE_SECONDS = 1.5
RECORDS = "records"
_CLIENT = (
    "exec dpe-simulator client --url=https://{name}-balancer.{namespace}.svc/DpeWebApplication "
    "--ca=/etc/dpe-ca/ca.crt --connections=3 --slow=0 --rate=3 --fresh=1 --seconds=86400s "
    "--records=/records/$(date +%s).jsonl"
)


class BusySite:
    """The site, in a namespace of its own, that stays for a whole run."""

    def __init__(self, cluster: Kubectl, images: Mapping[str, str], folder: Path) -> None:
        self.cluster = cluster
        self.kube = cluster.within(NAMESPACE)
        self.images = images
        self.folder = folder
        self.site = Site(self.kube, NAME, images, folder / "certificates")
        self.components = [
            Component(self.kube, "WorkflowWorker", "activities"),
            Component(self.kube, "WorkflowScheduler", "minutely"),
            *(Component(self.kube, "WorkflowTableWatcher", name) for name in _TABLES),
        ]
        self.manifests: dict[str, Object] = {}
        self.dsn = ""

    @property
    def layout(self) -> Layout:
        """What there is to strike."""
        names = [one.full_name for one in self.components]
        return Layout(SERVERS, BALANCER, names, [FARM], OPERATOR)

    def parts(self) -> list[Part]:
        """Everything of which several pods are there."""
        site = {"app.kubernetes.io/instance": NAME}
        found = [
            Part(SERVERS, site | {"app.kubernetes.io/component": "member"}, 2),
            Part(
                BALANCER, site | {"app.kubernetes.io/component": "balancer"}, 2, BALANCER, BALANCER
            ),
            Part(FARM, {"app.kubernetes.io/component": "processor"}, PROCESSORS),
            Part(OPERATOR, {"app.kubernetes.io/name": RELEASE}, 2, RELEASE),
            Part(CLIENTS, {"app": CLIENTS}, len(self.cluster.list("nodes"))),
        ]
        for one in self.components:
            labels = {"dpe.dev/owner-kind": one.kind, "app.kubernetes.io/instance": one.name}
            found.append(
                Part(one.full_name, labels, 2, one.full_name, one.full_name, singleton=True)
            )
        return found

    # --- making and taking away

    def remove(self) -> None:
        """Take away what this run, or one that was killed, has left."""
        self.cluster.run("delete", "namespace", "-l", LABEL, "--ignore-not-found", timeout=300)
        remove_volumes(self.cluster, NAMESPACE)

    def make(self) -> None:
        """Make it, from nothing, and wait until all of it works."""
        place = namespace(NAMESPACE)
        place["metadata"]["labels"][LABEL] = "true"
        self.cluster.apply(place)
        self.kube.apply(*postgres(NAMESPACE, self.images["dpe-postgres"]))
        self.kube.apply(*certificate_objects(NAME, NAMESPACE, self.site.folder), database_port())
        self.site.manifest = self._cluster()
        self.kube.apply(self.site.manifest)
        self.kube.wait_ready("dpe", NAME, timeout=420)
        (database,) = self.kube.list("pod", {"app": "dpe-postgres"})
        plane = control_plane_node(self.cluster)
        if database["spec"]["nodeName"] != plane:
            raise RuntimeError(
                "the database is not on the control plane: a lost node would take it"
            )
        self.dsn = Ledger(self.kube, node_address(self.cluster, plane)).dsn
        with connect(self.dsn, name="chaos") as session:
            content.create_changes(session)
            for table in _TABLES:
                content.create_entries(session, table=table)
        self._make_components()
        self.kube.apply(self._clients())

    def _cluster(self) -> Object:
        made = dpe_cluster(NAME, self.images, farms=(FARM,))
        server = made["spec"]["server"]
        # chaos takes servers away more often than any site loses them
        server["loadBalancer"]["flapLimit"] = {"switches": 20}
        # jobs of a processor that is lost are another's soon
        server["env"].append({"name": "DPE_JOB_LEASE", "value": "10s"})
        made["spec"]["processors"][0]["replicas"] = PROCESSORS
        return made

    def _make_components(self) -> None:
        SharedVolumes(self.kube).make(*(f"{name}-table-watcher-memory" for name in _TABLES))
        often = {"name": "DPE_HEARTBEAT", "value": "250ms"}
        clock = {
            "DPE_CLOCK_START": "2026-06-01T06:00:00", "DPE_CLOCK_RATE": str(_CLOCK_RATE),
            "DPE_CLOCK_ANCHOR": f"{time.time():.0f}",
        }  # fmt: skip
        ticks = [often, *({"name": name, "value": value} for name, value in clock.items())]
        made = [
            component(
                "WorkflowWorker", "activities", self.site, mode="Standby",
                timings={"profile": "Fast"}, env=[often, {"name": "DPE_WORKER_QUOTA", "value": "8"}],
            ),
            component(
                "WorkflowScheduler", "minutely", self.site, mode="Standby", schedule=_SCHEDULE, timeZone="UTC",
                timings={"profile": "Safe"}, env=ticks,
            ),
            *(
                watcher(name, self.site, mode="Standby", timings={"profile": profile}, env=[often])
                for name, profile in _TABLES.items()
            ),
        ]  # fmt: skip
        for one, manifest in zip(self.components, made, strict=True):
            if one.name == "news":  # its workflows have a job for the farm, too
                manifest["spec"]["command"] += [f"--job-type={FARM}", "--job-seconds=300ms"]
            self.manifests[one.full_name] = manifest
            self.kube.apply(manifest)
        for one in self.components:
            one.wait_ready(timeout=300)

    def _clients(self) -> Object:
        """A client on each machine, the control plane too: it goes on where that is cut off."""
        text = _CLIENT.format(name=NAME, namespace=NAMESPACE)
        spec = restricted_pod(
            "any", self.images["dpe-simulator"], ["sh", "-c", text], ca=f"{NAME}-ca"
        )["spec"]
        spec["restartPolicy"] = "Always"
        spec["tolerations"] = [{"operator": "Exists"}]
        spec["securityContext"]["fsGroup"] = 65532
        spec["volumes"].append({"name": RECORDS, "emptyDir": {}})
        container = spec["containers"][0]
        container["volumeMounts"].append({"name": RECORDS, "mountPath": "/records"})
        container["envFrom"] = [{"configMapRef": {"name": f"{NAME}-client-profile"}}]
        labels = {"app": CLIENTS}
        return {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": CLIENTS},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }

    # --- planned work

    def switch(self) -> None:
        """Make the other server active, as a person would."""
        target = self.site.standby()
        self.kube.annotate("dpe", NAME, switch_to=target)
        self.site.wait_active(target, timeout=60)

    def roll(self, part: str, mark: str) -> None:
        """Give a part another pod template, and wait until all its pods have it."""
        notes = {"podAnnotations": {"example.com/round": mark}}
        if part == SERVERS:
            self.site.manifest["spec"]["server"] |= notes
        elif part == FARM:
            self.site.manifest["spec"]["processors"][0] |= notes
        else:
            self.manifests[part]["spec"] |= notes
        self.kube.apply(self.manifests.get(part, self.site.manifest))
        labels = next(one.labels for one in self.parts() if one.name == part)

        def rolled() -> bool:
            pods = self.kube.list("pod", labels)
            return bool(pods) and all(
                pod["metadata"].get("annotations", {}).get("example.com/round") == mark
                for pod in pods
            )

        eventually(rolled, timeout=240, every=2, what=f"all pods of {part} have the new template")


class People:
    """They change entries all the time, until `close`; a database that is away makes them wait."""

    def __init__(self, dsn: str, seed: str) -> None:
        self._dsn = dsn
        self._dice = random.Random(seed)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Change nothing more."""
        self._closed.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(psycopg.OperationalError):
                self._work()
            self._closed.wait(1)

    def _work(self) -> None:
        with connect(self._dsn, name="chaos") as session:
            while not self._closed.wait(_CHANGE_SECONDS):
                table = self._dice.choice(list(_TABLES))
                # as many go as come, so that a table does not grow for hours
                change = {"add": 1, "update": int(self._dice.random() < 0.2)}
                change["delete"] = int(self._many(session, table) > 60)
                content.change_entries(session, table=table, **change)
                session.commit()

    @staticmethod
    def _many(session: psycopg.Connection[tuple[object, ...]], table: str) -> int:
        row = session.execute(f"SELECT count(*) FROM {table} WHERE NOT deleted").fetchone()
        return int(str(row[0])) if row else 0


def client_files(pods: Sequence[Object]) -> dict[str, str]:
    """By machine, the folder in which its client writes what it saw, as that machine names it."""
    return {
        pod["spec"]["nodeName"]: f"/var/lib/kubelet/pods/{pod['metadata']['uid']}/volumes/"
        f"kubernetes.io~empty-dir/{RECORDS}"
        for pod in pods
    }
