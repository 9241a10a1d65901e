# SPDX-License-Identifier: Apache-2.0
"""Plays kubelet for the copy of PAR files: runs a Job's pod as a process on this machine.

Everything is taken from the Job that the operator (or the CronJob) made: the command with the real
elector and the real program, the config in the pod's annotation, the service account with its real
rights. Only the folders of the volumes are others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.api_server import ROOT, ApiServer
from tests.support.elector_pods import namespace_of_its_own

from dpe_operator.builders.par_sync import ANNOTATION_CONFIG
from dpe_operator.planning.objects import Obj, dig

_PROGRAMS = {
    "dpe-elector": [sys.executable, "-I", "-S", str(ROOT / "operator/dpe_elector")],
    "dpe-par-sync": [sys.executable, "-m", "dpe_par_sync"],
}


class Volumes:
    """The two volumes, as folders: `master` and `redundant`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.master, self.redundant = folder / "master", folder / "redundant"
        for path in (self.master, self.redundant):
            path.mkdir(parents=True)

    def write(self, where: Path, **files: str) -> None:
        """Write files that were last changed an hour ago."""
        where.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = where / f"{name}.par"
            path.write_text(content)
            os.utime(path, (time.time() - 3600,) * 2)

    def served(self) -> dict[str, str]:
        """What DPE reads on the redundant side."""
        return {path.stem: path.read_text() for path in self.redundant.glob("current/*.par")}


def run_job(server: ApiServer, job: Obj, volumes: Volumes) -> int:
    """Run a Job's pod to its end; returns the exit status of its container."""
    template = job["spec"]["template"]
    (container,) = template["spec"]["containers"]
    config = json.loads(template["metadata"]["annotations"][ANNOTATION_CONFIG])
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    folder = volumes.folder / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(_here(config, volumes, folder)))
    token = server.service_account_token(namespace, template["spec"]["serviceAccountName"])
    (folder / "token").write_text(token)
    fields = {
        "metadata.name": f"{name}-x",
        "metadata.namespace": namespace,
        "metadata.uid": f"uid-{name}",
        "metadata.labels['batch.kubernetes.io/job-name']": name,
    }
    environment = {
        variable["name"]: fields[dig(variable, "valueFrom", "fieldRef", "fieldPath")]
        for variable in container["env"]
    }
    done = subprocess.run(
        [*namespace_of_its_own(), *_command(container["command"], folder / "config.json")],
        env={
            **environment,
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "operator"),
            "DPE_API_SERVER": server.url,
            "DPE_API_TOKEN_FILE": str(folder / "token"),
            "DPE_API_CA_FILE": str(server.ca_file),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        text=True,
    )
    (folder / "log").write_text(done.stdout)
    return done.returncode


def _here(config: dict[str, Any], volumes: Volumes, folder: Path) -> dict[str, Any]:
    """The same config with the folders of this machine; nothing is mounted here."""
    text = json.dumps(config)
    text = text.replace(config["master"]["mountPoint"], str(volumes.master))
    text = text.replace(config["redundant"]["volumePath"], str(volumes.redundant))
    message = folder / "termination-log"
    message.touch()
    changed = {"requireMount": False, "terminationMessagePath": str(message)}
    return {**json.loads(text), **changed}


def _command(command: list[str], config: Path) -> list[str]:
    words = [str(config) if word.endswith("/config.json") else word for word in command]
    return [part for word in words for part in _PROGRAMS.get(word, [word])]
