# SPDX-License-Identifier: Apache-2.0
"""haproxy.cfg and agent.json as texts: what they say, and what may never get into them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpe_balancer.config import PROBE_SOURCE as ASKED_FROM
from dpe_balancer.config import load_config
from dpe_operator.builders.haproxy import (
    PROBE_SOURCE,
    AgentMember,
    AgentSettings,
    HaproxySettings,
    HealthCheck,
    MemberAddress,
    MemberTls,
    Timings,
    render_agent_config,
    render_haproxy,
)

PASSTHROUGH = HaproxySettings(
    tls_mode="Passthrough",
    listen_port=8443,
    members=(
        MemberAddress("a", 1, "10.96.0.11", 443, host_name="radio-member-a.studio.svc"),
        MemberAddress("b", 2, "dpe2.studio.example", 8443, dns=True),
    ),
    health=HealthCheck("/DpeWebApplication/status?deep=1", body_contains="all = ok"),
    member_tls=MemberTls(ca_file="/etc/dpe-balancer/member-ca/ca.crt"),
)
TERMINATE = replace(
    PASSTHROUGH, tls_mode="Terminate", certificate_file="/etc/dpe-balancer/tls/tls.crt"
)


def section(text: str, title: str) -> str:
    return text.split(f"\n{title}\n", 1)[1].split("\n\n", 1)[0]


def test_a_member_comes_first_in_its_own_backend() -> None:
    own = section(render_haproxy(PASSTHROUGH), "backend dpe-b").splitlines()
    assert own[-2].split()[:3] == ["server", "b", "dpe2.studio.example:8443"]
    assert " check " in own[-2]
    assert " backup" not in own[-2]
    assert own[-1].split()[:3] == ["server", "a", "10.96.0.11:443"]
    assert own[-1].endswith(" backup")
    assert " track dpe-a/a " in own[-1]
    assert " check " not in own[-1]


def test_the_table_decides_and_requests_do_not_write_it() -> None:
    text = render_haproxy(PASSTHROUGH)
    assert "use_backend dpe-b if { int(1),table_server_id(dpe) eq 2 }" in text
    assert "use_backend dpe-a if { int(1),table_server_id(dpe) eq 1 }" in text
    assert 'default_backend "${DPE_START-dpe-a}"' in text
    assert "stick on" not in text
    assert "stick store" not in text


def test_settings_as_tried() -> None:
    text = render_haproxy(PASSTHROUGH)
    assert (
        "default-server inter 250ms fastinter 25ms fall 3 rise 2 on-marked-down shutdown-sessions\n"
    ) in text
    # clients' failures count for nothing, see docs/adr/0014
    assert "observe" not in text
    for line in ("timeout connect 250ms", "timeout check 800ms", "option redispatch 1"):
        assert f"  {line}\n" in text


def test_clients_and_metrics_fill_only_their_own_part() -> None:
    """Or the other balancer would hear nothing from one that has all the clients it takes."""
    text = render_haproxy(replace(PASSTHROUGH, max_connections=4000, max_metrics_connections=100))
    assert "  maxconn 4100\n" in text.split("\ndefaults\n")[0]
    assert "  maxconn 4000\n" in section(text, "frontend dpe-in")
    assert "  maxconn 100\n" in section(text, "frontend metrics")
    assert text.count("maxconn") == 3


def test_each_member_is_asked_by_its_own_name() -> None:
    text = render_haproxy(PASSTHROUGH)
    assert "hdr Host 'radio-member-a.studio.svc' " in text
    assert "hdr Host 'dpe2.studio.example:8443' " in text
    assert "check-sni radio-member-a.studio.svc" in text
    named = replace(PASSTHROUGH, health=replace(PASSTHROUGH.health, host_header="dpe.test:444"))
    text = render_haproxy(named)
    assert text.count("hdr Host 'dpe.test:444' ") == 2
    assert text.count("check-sni dpe.test ") == 4
    addressed = replace(
        PASSTHROUGH, members=(MemberAddress("a", 1, "10.0.0.1", 443), PASSTHROUGH.members[1])
    )
    assert "sni 10." not in render_haproxy(addressed)


def test_how_members_certificates_are_checked() -> None:
    assert " check-ssl verify required ca-file /etc/dpe-balancer/member-ca/ca.crt " in (
        render_haproxy(PASSTHROUGH)
    )
    text = render_haproxy(TERMINATE)
    assert " ssl verify required ca-file /etc/dpe-balancer/member-ca/ca.crt " in text
    assert " sni str(radio-member-a.studio.svc) " in text
    assert "ssl crt /etc/dpe-balancer/tls/tls.crt\n" in text
    system = replace(TERMINATE, member_tls=MemberTls())
    assert "verify required ca-file @system-ca" in render_haproxy(system)
    lax = replace(TERMINATE, member_tls=MemberTls(verify=False, ca_file="/x"))
    assert "verify none" in render_haproxy(lax)
    assert "ca-file" not in render_haproxy(lax)
    plain = replace(PASSTHROUGH, tls_mode="None", member_tls=None)
    assert "ssl" not in section(render_haproxy(plain), "backend dpe-a")


def test_http_modes_have_an_error_page_and_tcp_has_none() -> None:
    assert "http-error status 503" in render_haproxy(TERMINATE)
    assert "http-error" not in render_haproxy(PASSTHROUGH)


def test_names_are_looked_up_only_where_there_are_names() -> None:
    assert "resolvers dns init-addr none" in render_haproxy(PASSTHROUGH)
    assert "resolve-opts allow-dup-ip" in render_haproxy(PASSTHROUGH)
    # when that time is over without an answer HAProxy takes away both members, well as they are
    for kind in ("other", "refused", "timeout"):
        assert f"  hold {kind} 7d\n" in render_haproxy(PASSTHROUGH)
    addresses = tuple(
        replace(member, address="10.96.0.12", dns=False) for member in PASSTHROUGH.members
    )
    assert "resolvers" not in render_haproxy(replace(PASSTHROUGH, members=addresses))


def change(**fields: Any) -> HaproxySettings:
    """The settings with one field changed; `health_path` means `health.path`."""
    settings = PASSTHROUGH
    for name, value in fields.items():
        outer, _, inner = name.partition("_")
        if hasattr(settings, name):
            settings = replace(settings, **{name: value})
        elif outer == "member":
            first = replace(settings.members[0], **{inner: value})
            settings = replace(settings, members=(first, settings.members[1]))
        elif outer == "health":
            settings = replace(settings, health=replace(settings.health, **{inner: value}))
        else:
            assert outer == "tls"
            assert settings.member_tls is not None
            tls = replace(settings.member_tls, **{inner: value})
            settings = replace(settings, member_tls=tls)
    return settings


EVIL = [
    "x\n  server evil 1.2.3.4:80",
    "x' server",
    'x" y',
    "x\\n",
    "x y",
    "x#y",
    "x\ty",
    "$HOME",
    "${HOME}",
    "x\0",
    "x\r",
    "ä",
    "",
    " ",
]


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize(
    ("field", "named"),
    [
        ("member_name", "name"),
        ("member_address", "address"),
        ("member_host_name", "hostName"),
        ("health_path", "health.path"),
        ("health_status", "health.status"),
        ("health_host_header", "health.hostHeader"),
        ("tls_server_name", "health.tls.serverName"),
        ("tls_ca_file", "health.tls.caFile"),
        ("run_directory", "runDirectory"),
        ("listen_address", "address"),
        ("backend", "backend"),
    ],
)
def test_no_line_of_a_user_gets_in(field: str, named: str, evil: str) -> None:
    if field in ("health_path", "tls_ca_file", "run_directory"):
        evil = f"/{evil}" if evil.strip() else f"/ {evil}"
    with pytest.raises(ValueError, match=named):
        render_haproxy(change(**{field: evil}))


@pytest.mark.parametrize("evil", ["a\nb", "it's", 'say "ok"', "back\\slash", "ä", "", "\0"])
def test_no_quote_in_the_expected_text(evil: str) -> None:
    with pytest.raises(ValueError, match=r"health\.bodyContains"):
        render_haproxy(change(health_body_contains=evil))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (change(tls_mode="Maybe"), "tls.mode 'Maybe'"),
        (change(tls_mode="Terminate"), "certificateFile None: needed"),
        (change(certificate_file="/x"), "certificateFile '/x'"),
        (change(members=PASSTHROUGH.members[:1]), "exactly 2"),
        (change(member_name="b"), "different names"),
        (change(member_id=2), "ids must be 1 and 2"),
        (change(member_port=0), "port 0"),
        (change(listen_port=70000), "port 70000"),
        (change(timings=Timings(fall=0)), "timings.fall 0"),
        (change(health_timeout_ms=0), "health.timeout 0"),
        (change(name_servers=(("dns.example", 53),)), "address 'dns.example'"),
    ],
)
def test_what_haproxy_could_not_use(settings: HaproxySettings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_haproxy(settings)


def test_the_agent_reads_what_is_written_for_it(tmp_path: Path) -> None:
    settings = AgentSettings(
        service="radio-balancer",
        slice_name="radio-balancer",
        lease="radio-balancer",
        tls_mode="Terminate",
        listen_port=8443,
        port_name="https",
        members=(AgentMember("a", 1, "radio-member-a"), AgentMember("b", 2, None)),
        drain_seconds=20,
        certificate_file="/etc/dpe-balancer/tls/tls.crt",
    )
    text = render_agent_config(settings)
    assert json.loads(text)["members"][1] == {"name": "b", "id": 2, "serviceName": None}
    path = tmp_path / "agent.json"
    path.write_text(text)
    config = load_config(path)
    assert config.names == ("a", "b")
    assert not config.tcp
    assert config.drain_seconds == 20
    assert config.certificate_file == Path("/etc/dpe-balancer/tls/tls.crt")
    assert config.member_ca_file is None
    with pytest.raises(ValueError, match="exactly 2"):
        render_agent_config(replace(settings, members=settings.members[:1]))


def test_the_probe_comes_from_where_the_config_expects_it() -> None:
    assert ASKED_FROM == PROBE_SOURCE
    assert f"reject if {{ src {PROBE_SOURCE} }}" in render_haproxy(PASSTHROUGH)
