# SPDX-License-Identifier: Apache-2.0
"""Promise: another authority for the members is used once it is mounted, and a bad one is not.

HAProxy takes a new authority over its socket and says "Success", but servers without a client
certificate go on with the old one: the members looked DOWN, both of them, as soon as they had
certificates of the new authority.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.balancer_kit import CALM, Balancer, Site, running_site
from tests.support.balancer_parts import Pki, until

from dpe_operator.builders.haproxy import TlsMode

pytestmark = pytest.mark.integration

BOTH_UP = '{"a":"UP","b":"UP"}'


def figure(balancer: Balancer, name: str) -> float:
    """One figure of the agent's metrics."""
    lines = balancer.metrics().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"dpe_balancer_{name}"))


def replace(path: Path, text: str) -> None:
    """Put a file in its place, whole, as kubelet does."""
    written = path.with_suffix(".new")
    written.write_text(text)
    written.replace(path)


def members_get_certificates_of(site: Site, other: Pki) -> None:
    """One member after the other is started anew with a certificate of `other`."""
    replace(site.pki.member, other.member.read_text())
    for member in site.members.values():
        member.kill()
        until(lambda: "DOWN" in site.notes()["member-states"], 10, "it is gone")
        member.start()
        until(lambda: site.notes()["member-states"] == BOTH_UP, 10, f"{member.name} is trusted")


@pytest.mark.parametrize("mode", ["Passthrough", "Terminate"])
def test_members_with_certificates_of_a_second_authority_are_trusted(
    api_server: ApiServer, tmp_path: Path, mode: TlsMode
) -> None:
    second = Pki(tmp_path / "second", "second authority")
    with running_site(api_server, tmp_path / "site", mode, timings=CALM) as site:
        balancer = site.balancers[0]
        site.settle()
        active, count = site.active(), site.count()
        replace(site.pki.ca, site.pki.ca.read_text() + second.ca.read_text())
        until(lambda: figure(balancer, "certificate_renewals_total") == 1, 10, "it was noticed")
        site.settle()
        assert (site.active(), site.count()) == (active, count)
        assert site.routed() is balancer
        members_get_certificates_of(site, second)


def test_an_authority_that_cannot_be_read_leaves_haproxy_alone(
    api_server: ApiServer, tmp_path: Path
) -> None:
    with running_site(api_server, tmp_path, "Terminate", timings=CALM) as site:
        balancer = site.balancers[0]
        site.settle()
        pid, good = balancer.haproxy_pid(), site.pki.ca.read_text()
        replace(site.pki.ca, good[: len(good) // 2])
        until(lambda: figure(balancer, "certificate_failures_total") == 1, 10, "it was refused")
        time.sleep(2)
        assert balancer.haproxy_pid() == pid
        assert figure(balancer, "certificate_failures_total") == 1
        assert site.notes()["member-states"] == BOTH_UP
