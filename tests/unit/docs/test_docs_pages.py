# SPDX-License-Identifier: Apache-2.0
"""What the documentation says exists: commands, targets, files, links, fields of our resources."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpe_operator.api.addresses import service_root
from dpe_operator.api.cluster import DpeCluster
from dpe_operator.api.constants import WORKFLOW_KINDS
from dpe_operator.api.kinds import kind_named
from dpe_operator.api.par_store import ParStore
from dpe_operator.api.processor_farm import ProcessorFarm
from dpe_operator.api.server import DpeServer

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(
    path.relative_to(ROOT)
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("charts/*/README.md")]
)
KINDS = {
    "DpeCluster": DpeCluster,
    "DpeServer": DpeServer,
    "ProcessorFarm": ProcessorFarm,
    "ParStore": ParStore,
    **{name: kind_named(name).model for name in WORKFLOW_KINDS},
}
PROGRAMS = {"make", "kubectl", "helm", "export", "dpe-operator"}
KUBECTL = {
    *("annotate", "apply", "autoscale", "create", "delete", "describe", "explain", "get", "logs"),
    *("patch", "rollout", "scale", "wait", "drain", "uncordon", "label", "exec"),
}
HELM = {"install", "upgrade", "test", "rollback", "uninstall", "template"}
# the names of the guides, some of which the reader chooses
OURS = {
    *("dpe", "dpe-all", "dpeserver", "dpefarm", "dpecluster", "processorfarm", "processorfarms"),
    *("dpeworker", "dpesched", "dpetable", "dpefolder"),
}


def blocks(page: Path, language: str) -> Iterator[str]:
    """Yield the fenced blocks of a language, without their indentation."""
    text = (ROOT / page).read_text()
    for found in re.finditer(rf"^( *)```{language}\n(.*?)^ *```$", text, re.M | re.S):
        yield textwrap.dedent(found[2])


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the commands after the prompts of a page's console blocks, as words."""
    for block in blocks(page, "console"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield shlex.split(line[2:], comments=True)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


def yaml_documents(page: Path) -> Iterator[dict[str, Any]]:
    for block in blocks(page, "yaml"):
        yield from (document for document in yaml.safe_load_all(block) if document)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = ROOT / page.parent / path if path else ROOT / page
        assert found.exists(), f"{page} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(), re.M)
            assert anchor in {slug(heading) for heading in headings}, f"{page} links to {target}"


def slug(heading: str) -> str:
    """Return a heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_are_ones_that_exist(page: Path) -> None:
    for words in commands(page):
        program = words[0]
        if program.startswith(("hack/", "./hack/")):
            assert (ROOT / program).exists(), words
        else:
            assert program in PROGRAMS, words
        if program == "make":
            targets = {word for word in words[1:] if "=" not in word}
            assert targets <= make_targets(), words
        if program == "kubectl":
            assert set(words[1:5]) & KUBECTL, words
        if program == "helm":
            assert words[1] in HELM, words
        for word in words[1:]:
            if re.match(r"(charts|manifests|crds|hack|docs)/", word):
                assert (ROOT / word).exists(), words


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_whole_resources_in_the_text_are_valid(page: Path) -> None:
    for document in yaml_documents(page):
        if isinstance(document, dict) and document.get("kind") in KINDS:
            KINDS[document["kind"]].model_validate(
                {key: value for key, value in document.items() if key in ("metadata", "spec")}
            )


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_parts_of_a_pair_in_the_text_are_valid(page: Path) -> None:
    """Snippets begin with `spec:` or `server:`; what is left out to be short is filled in here."""
    for document in yaml_documents(page):
        if "kind" in document or not {"spec", "server"} & set(document):
            continue
        spec = dict(document.get("spec", document))
        if "server" not in spec:
            continue
        known = DpeCluster.model_fields["spec"].annotation.model_fields
        assert set(spec) <= {field.alias or name for name, field in known.items()}, spec
        server = {
            "image": "dpe-server",
            "members": [{"name": "a"}, {"name": "b"}],
            **spec.get("server", {}),
        }
        server["health"] = {"path": "/status", **server.get("health", {})}
        DpeCluster.model_validate(
            {"metadata": {"name": "radio"}, "spec": {**spec, "server": server}}
        )


def test_the_readme_says_it_all_on_its_first_screen() -> None:
    screen = (ROOT / "README.md").read_text()[:2600]
    for needed in ("make demo", "make test", "mermaid", "Redundancy and Fault Tolerance for DPE"):
        assert needed in screen


@pytest.mark.parametrize(
    "page",
    ["README.md", "docs/how-to/tls.md", "docs/how-to/external-servers.md"]
    + [f"manifests/samples/{name}.yaml" for name in ("terminate-tls", "full", "external-servers")],
)
def test_certificates_need_the_name_that_the_cluster_uses_too(page: str) -> None:
    """Components are given that name; a certificate without it fails where names are checked."""
    server = DpeServer.model_validate(
        {
            "metadata": {"name": "radio"},
            "spec": {
                "image": "x",
                "health": {"path": "/"},
                "members": [{"name": "a"}, {"name": "b"}],
            },
        }
    ).spec
    url = service_root(name="radio", namespace="studio", server=server)
    assert url == "https://radio-balancer.studio.svc"
    text = (ROOT / page).read_text()
    names = ("radio-balancer.studio.svc", "radio-balancer.<namespace>.svc")
    assert any(name in text for name in names)


@pytest.mark.parametrize("page", ["docs/how-to/own-image.md", "docs/reference/api.md"])
def test_how_a_null_in_a_pod_template_arrives_is_said(page: str) -> None:
    """In a resource that exists a plain apply is a merge patch, and its nulls are not stored."""
    text = (ROOT / page).read_text()
    assert "`kubectl apply --server-side` or `kubectl replace`" in text


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_fences_are_closed(page: Path) -> None:
    assert len(re.findall(r"^ *```", (ROOT / page).read_text(), re.M)) % 2 == 0
