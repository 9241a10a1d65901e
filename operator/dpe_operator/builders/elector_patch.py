# SPDX-License-Identifier: Apache-2.0
"""What a ``podTemplate`` may not do to a pod into which the elector is injected.

Such a patch would start the program in every pod at once, or stop the elector from handing over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dpe_operator.builders.elector import (
    API_DIR,
    API_VOLUME,
    ELECTOR_DIR,
    ELECTOR_VOLUME,
    INIT_CONTAINER,
)
from dpe_operator.builders.pod import CONTAINER
from dpe_operator.builders.workflow_memory import LINK_VOLUME, VOLUME, VOLUME_DIR

_OWN_VOLUMES: Final = (ELECTOR_VOLUME, API_VOLUME, VOLUME, LINK_VOLUME)
_OWN_FOLDERS: Final = (ELECTOR_DIR, API_DIR, VOLUME_DIR)
PROBE_WHY: Final = "cannot be set, because the probes ask the elector: leave it out"
_WHY: Final[Mapping[str, str]] = {
    "command": "would start the program without the elector, in all pods at once: write command "
    "in the spec",
    "args": "would not reach the program: write args in the spec",
    "livenessProbe": PROBE_WHY,
    "readinessProbe": PROBE_WHY,
    "lifecycle": "cannot be set, because the program would go on while the pod is to stop: leave "
    "it out",
}


def injected_patch_problems(patch: Mapping[str, Any] | None) -> Iterator[str]:
    """Find what would take the elector away; the patch has the shape of a pod template.

    Sentences begin with ``podTemplate``, as those of ``pod_template_problems``. A startupProbe is
    asked for elsewhere (``planning.pod_acceptance``), in new specs only.
    """
    spec = (patch or {}).get("spec") or {}
    root = "podTemplate.spec"
    if "terminationGracePeriodSeconds" in spec:
        yield (
            f"{root}.terminationGracePeriodSeconds would not reach the elector, which has to be"
            " done before that: write terminationGracePeriodSeconds in the spec"
        )
    for key in ("initContainers", "volumes"):
        if key in spec and spec[key] is None:
            yield f"{root}.{key} is null, which would remove the elector: leave it out"
    for entry in spec.get("volumes") or ():
        if entry["name"] in _OWN_VOLUMES:
            yield f"{root}.volumes[{entry['name']}] is the operator's own: write another name"
    for entry in spec.get("initContainers") or ():
        if entry["name"] == INIT_CONTAINER and set(entry) & {"$patch", "command", "args"}:
            yield (
                f"{root}.initContainers[{INIT_CONTAINER}] brings the elector: leave its command"
                " as it is"
            )
    for entry in spec.get("containers") or ():
        if entry["name"] == CONTAINER:
            yield from _container_problems(entry, f"{root}.containers[{CONTAINER}]")


def _container_problems(entry: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, why in _WHY.items():
        if key in entry:
            yield f"{path}.{key} {why}"
    for key in ("env", "volumeMounts"):
        if key in entry and entry[key] is None:
            yield f"{path}.{key} is null, which would remove the elector's own: leave it out"
    for mount in entry.get("volumeMounts") or ():
        if mount["mountPath"].rstrip("/") in _OWN_FOLDERS:
            yield f"{path}.volumeMounts[{mount['mountPath']}] is the operator's own: leave it out"
