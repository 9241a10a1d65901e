# SPDX-License-Identifier: Apache-2.0
"""Settings from the environment, log lines, and the command line on a desk."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dpe_operator.api.kinds import KINDS
from dpe_operator.cli.main import main
from dpe_operator.planning.objects import Ref
from dpe_operator.runtime import operator
from dpe_operator.runtime.health import Unwell
from dpe_operator.runtime.logs import configure, reconcile_context
from dpe_operator.runtime.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = sorted((ROOT / "manifests/samples").glob("*.yaml"))


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPE_OPERATOR_BALANCER_IMAGE", "x:1")
    monkeypatch.setenv("DPE_OPERATOR_ELECTOR_IMAGE", "y:1")
    monkeypatch.setenv("DPE_OPERATOR_WATCH_NAMESPACES", "radio, tv,")
    monkeypatch.setenv("DPE_OPERATOR_IMAGE_PULL_SECRETS", "login")
    monkeypatch.setenv("DPE_OPERATOR_IMAGE_PULL_POLICY", "Never")
    monkeypatch.setenv("POD_NAME", "operator-1")
    settings = Settings()
    assert settings.watch_namespaces == ("radio", "tv")
    environment = settings.environment()
    assert environment.image_pull_secrets == ("login",)
    assert environment.image_pull_policy == "Never"
    assert settings.pod_name == "operator-1" and settings.resync_seconds == 600


def test_empty_lists_mean_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPE_OPERATOR_BALANCER_IMAGE", "x:1")
    monkeypatch.setenv("DPE_OPERATOR_ELECTOR_IMAGE", "y:1")
    monkeypatch.setenv("DPE_OPERATOR_WATCH_NAMESPACES", "")
    settings = Settings()
    assert settings.watch_namespaces == () and settings.environment().image_pull_policy is None


def test_wrong_settings_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DPE_OPERATOR_BALANCER_IMAGE", "x:1")
    monkeypatch.setenv("DPE_OPERATOR_ELECTOR_IMAGE", "y:1")
    monkeypatch.setenv("DPE_OPERATOR_RESYNC_SECONDS", "often")
    assert main(["run"]) == 2
    assert "DPE_OPERATOR_RESYNC_SECONDS" in capsys.readouterr().err


@pytest.fixture
def _logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_logging")
def test_log_lines_name_resource_and_reconcile(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_format="json", level="INFO")
    with reconcile_context(Ref("DpeCluster", "ns", "radio")) as number:
        logging.getLogger("x").info("hello")
    logging.getLogger("x").info("outside")
    inside, outside = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert inside["resource"] == "DpeCluster/ns/radio" and inside["reconcile"] == number
    assert inside["message"] == "hello" and inside["level"] == "INFO"
    assert outside["resource"] == ""
    configure(log_format="plain", level="WARNING")
    logging.getLogger("x").warning("plain words")
    assert "WARNING" in capsys.readouterr().err


@pytest.mark.usefixtures("_logging")
def test_an_operator_that_is_not_well_fails_and_says_why_at_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DPE_OPERATOR_BALANCER_IMAGE", "x:1")
    monkeypatch.setenv("DPE_OPERATOR_ELECTOR_IMAGE", "y:1")

    async def unwell(_: Settings) -> None:
        raise Unwell("watch streams are silent")

    monkeypatch.setattr(operator, "run_operator", unwell)
    assert main(["run"]) == 1
    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert last["message"] == "the operator ends, to be started anew: watch streams are silent"


def test_crds_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crds"]) == 0
    kinds = [crd["spec"]["names"]["kind"] for crd in yaml.safe_load_all(capsys.readouterr().out)]
    assert kinds and sorted(kinds) == sorted(kind.kind for kind in KINDS)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_samples_can_be_rendered(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["render", str(sample), "--balancer-image", "our-balancer:1"])
    out, err = capsys.readouterr()
    if "does not exist in this namespace" in err:  # a part alone: its cluster is elsewhere
        kinds = {resource["kind"] for resource in yaml.safe_load_all(sample.read_text())}
        assert status == 2 and "DpeCluster" not in kinds
        return
    assert status == 0, err
    made = list(yaml.safe_load_all(out))
    names = {(obj["kind"], obj["metadata"]["name"]) for obj in made}
    assert len(names) == len(made), "nothing is printed twice"
    claims = [obj for obj in made if obj["kind"] == "PersistentVolumeClaim"]
    assert all(claim["spec"]["accessModes"] for claim in claims), "what grows them is not enough"
    if any(kind == "Lease" for kind, _ in names):
        assert "our-balancer:1" in out


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_windows_starts_the_pods_of_samples(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It starts no administrator where `runAsNonRoot` says that none is to be started."""
    main(["render", str(sample)])
    for made in yaml.safe_load_all(capsys.readouterr().out):
        pod = made["spec"]["template"]["spec"] if made["kind"] == "Deployment" else {}
        of_pod = pod.get("securityContext", {})
        for container in pod.get("containers", ()):
            security = {**of_pod, **container.get("securityContext", {})}
            user = security.get("windowsOptions", {}).get("runAsUserName")
            assert user != "ContainerAdministrator" or not security.get("runAsNonRoot")


def test_claims_are_rendered_as_they_are_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "par.yaml"
    master = {"size": "2Gi", "storageClassName": "shared"}
    server = {"health": {"path": "/x"}, "members": [{"name": "a"}, {"name": "b"}], "image": "x"}
    resource = {"apiVersion": "dpe.dev/v1alpha1", "kind": "DpeCluster",
                "metadata": {"name": "radio"},
                "spec": {"server": server, "parFiles": {"master": master}}}  # fmt: skip
    file.write_text(yaml.safe_dump(resource))
    assert main(["render", str(file)]) == 0
    made = yaml.safe_load_all(capsys.readouterr().out)
    (claim,) = [obj for obj in made if obj["kind"] == "PersistentVolumeClaim"]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "2Gi"}},
        "storageClassName": "shared",
    }


def test_what_would_be_refused_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.yaml"
    spec = {"server": {"health": {"path": "/x"}, "members": [{"name": "a"}, {"name": "b"}],
                       "image": "x", "podTemplate": {"kind": "Pod"}}}  # fmt: skip
    resource = {"apiVersion": "dpe.dev/v1alpha1", "kind": "DpeCluster",
                "metadata": {"name": "radio"}, "spec": spec}  # fmt: skip
    bad.write_text(yaml.safe_dump(resource))
    assert main(["render", str(bad)]) == 2
    assert "spec.server.podTemplate.kind is not part of a pod template" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["a: b", "{", ""])
def test_files_that_are_none(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert main(["render", str(path)]) == 2
    assert str(path) in capsys.readouterr().err
