# SPDX-License-Identifier: Apache-2.0
"""HAProxy's answers as they are read, and the commands it is given."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from dpe_balancer import haproxy
from dpe_balancer.certificates import Certificates
from dpe_balancer.config import load_config, pod_from_environment
from dpe_balancer.drain import EndWithAnswer, Fence
from dpe_balancer.haproxy import HaproxySilent, Runtime
from dpe_balancer.haproxy_text import (
    HaproxyFailure,
    Names,
    commands,
    frontend_sessions,
    member_state,
    older_than,
    read_seen,
)
from dpe_balancer.local_files import (
    choice_record,
    choice_text,
    load_record,
    read_role,
    save_choice,
)
from dpe_balancer.metrics import Figures, render
from dpe_balancer.model import (
    Choice,
    CutSessions,
    Enable,
    HoldBack,
    KeepUp,
    Pending,
    Record,
    Release,
    Role,
    SetActive,
    Switch,
)

NAMES = Names("dpe", {"a": 1, "b": 2})
STAT = """# pxname,svname,scur,stot,status,weight,check_status,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,
dpe-a,a,3,30,UP,1,L7OK,,,,,
dpe-a,b,1,5,DOWN,0,,,,,,
dpe-b,b,0,0,DOWN 1/2,1,* L7OK,,,,,
dpe-b,a,2,7,UP,1,,,,,,
"""
TABLE = (
    "# table: dpe, type: integer, size:1, used:1\n0x5566: key=1 use=0 exp=0 server_id=2\n\n"
    "proc.good_2: type=sint value=<41>\nVariable not found.\n"
)


def test_one_look() -> None:
    seen = read_seen(NAMES, STAT, TABLE)
    assert seen.states == {"a": "UP", "b": "DOWN"}
    assert seen.sessions == {"a": 5, "b": 1}
    assert seen.entry == "b"
    assert not seen.disabled
    assert seen.held == {"b"}
    assert seen.goods == {"a": 0, "b": 41}
    assert seen.answers == {"a": 37, "b": 5}


@pytest.mark.parametrize(("clients", "full"), [(3999, False), (4000, True)])
def test_full_is_the_frontend_of_the_clients(clients: int, full: bool) -> None:
    stat = (
        "# pxname,svname,scur,slim,stot,status,weight,check_status,\n"
        f"dpe-in,FRONTEND,{clients},4000,9,OPEN,,,\n"
        "metrics,FRONTEND,100,100,9,OPEN,,,\n"
        "dpe-a,a,7,,9,UP,1,L7OK,\n"
        "dpe-b,b,0,,0,UP,1,L7OK,\n"
    )
    assert read_seen(NAMES, stat, TABLE).full is full
    assert read_seen(NAMES, stat, TABLE).sessions == {"a": 7, "b": 0}


def test_in_http_mode_answers_are_counted_and_not_connections() -> None:
    seen = read_seen(NAMES, STAT.replace(",,,,,\n", ",1,20,0,3,\n"), TABLE)
    assert seen.answers == {"a": 48, "b": 48}


def test_an_empty_table_and_a_disabled_member() -> None:
    stat = STAT.replace("DOWN 1/2,1,* L7OK", "MAINT,1,")
    seen = read_seen(NAMES, stat, "# table: dpe, type: integer, size:1, used:0")
    assert seen.entry is None
    assert seen.disabled == {"b"}
    assert seen.states["b"] == "UNKNOWN"


def test_a_missing_member_is_a_failure() -> None:
    with pytest.raises(HaproxyFailure, match="does not know c"):
        read_seen(Names("dpe", {"a": 1, "c": 2}), STAT, TABLE)


def test_an_answer_that_ends_within_a_line_is_a_failure() -> None:
    """As when HAProxy ends while it answers."""
    within = [
        at for at in range(STAT.index("dpe-a"), len(STAT)) if "\n" not in STAT[at - 1 : at + 1]
    ]
    for end in within:
        with pytest.raises(HaproxyFailure):
            read_seen(NAMES, STAT[:end], TABLE)


@pytest.mark.parametrize(
    ("status", "check", "state"),
    [
        ("UP", "L7OK", "UP"),
        ("UP 1/2", "* L4CON", "UP"),
        ("UP", "", "UNKNOWN"),
        ("UP", "INI", "UNKNOWN"),
        ("UP", "* INI", "UNKNOWN"),
        ("DOWN", "L7STS", "DOWN"),
        ("DOWN 1/2", "L7OK", "DOWN"),
        ("MAINT", "", "UNKNOWN"),
        ("MAINT (resolution)", "", "DOWN"),
        ("NOLB", "L7OK", "DOWN"),
    ],
)
def test_member_state(status: str, check: str, state: str) -> None:
    assert member_state(status, check) == state


@pytest.mark.parametrize(
    ("status", "check", "late"),
    [
        ("UP 2/3", "L6TOUT", {"a": "handshake"}),
        ("UP 1/3", "* L7TOUT", {"a": "answer"}),
        ("UP", "L6TOUT", {}),  # the failed checks were forgotten
        ("UP 2/3", "L4TOUT", {}),  # nobody took the connection
        ("UP 2/3", "L4CON", {}),
        ("UP 2/3", "L7STS", {}),
        ("DOWN", "L6TOUT", {}),
        ("DOWN 1/2", "L7TOUT", {}),
    ],
)
def test_late_is_who_took_the_connection(status: str, check: str, late: dict[str, str]) -> None:
    stat = STAT.replace("dpe-a,a,3,30,UP,1,L7OK", f"dpe-a,a,3,30,{status},1,{check}")
    assert read_seen(NAMES, stat, TABLE).late == late


def test_frontend_sessions() -> None:
    stat = "# pxname,svname,scur,\ndpe-in,FRONTEND,7,\nmetrics,FRONTEND,2,\n"
    assert frontend_sessions(NAMES, stat) == 7
    with pytest.raises(HaproxyFailure, match="dpe-in"):
        frontend_sessions(NAMES, "")


def test_commands() -> None:
    assert commands(NAMES, SetActive("b")) == ["set table dpe key 1 data.server_id 2"]
    assert commands(NAMES, Enable("b")) == ["set server dpe-b/b state ready"]
    assert commands(NAMES, HoldBack("b")) == ["set server dpe-a/b weight 0"]
    assert commands(NAMES, KeepUp("b")) == ["set server dpe-b/b health up"]
    assert commands(NAMES, Release("b")) == ["set server dpe-a/b weight 1"]
    assert commands(NAMES, CutSessions("a")) == [
        "shutdown sessions server dpe-a/a",
        "shutdown sessions server dpe-b/a",
    ]


def test_what_is_told_while_clients_are_sent_elsewhere() -> None:
    assert commands(NAMES, EndWithAnswer(on=True)) == ["set table dpe key 1 data.gpt0 1"]
    assert commands(NAMES, EndWithAnswer(on=False)) == ["set table dpe key 1 data.gpt0 0"]
    assert commands(NAMES, Fence(on=True)) == [
        "set server dpe-a/b state maint",
        "set server dpe-b/a state maint",
    ]
    assert commands(NAMES, Fence(on=False))[0] == "set server dpe-a/b state ready"
    seen = read_seen(NAMES, STAT.replace("dpe-b,a,2,7,UP", "dpe-b,a,2,7,MAINT"), TABLE)
    assert seen.fenced and not seen.disabled and not seen.ends_with_answer
    assert read_seen(NAMES, STAT, TABLE.replace("server_id=2", "server_id=2 gpt0=1")).entry == "b"
    table = TABLE.replace("server_id=2", "server_id=2 gpt0=1")
    assert read_seen(NAMES, STAT, table).ends_with_answer
    # a backup that only follows its own check being off is not fenced
    via = STAT.replace("dpe-b,a,2,7,UP", "dpe-b,a,2,7,MAINT (via dpe-a/a)")
    assert not read_seen(NAMES, via, TABLE).fenced


def test_sessions_by_age() -> None:
    text = """0x1: proto=tcpv4 src=127.0.0.1:1 fe=dpe-in be=dpe-a srv=a ts=00 age=29s calls=2
0x2: proto=tcpv4 src=127.0.0.1:2 fe=dpe-in be=dpe-a srv=a ts=00 age=30s calls=2
0x3: proto=tcpv4 src=127.0.0.1:3 fe=dpe-in be=dpe-b srv=b ts=00 age=1h5m calls=2
0x4: proto=unix_stream src=unix:1 fe=GLOBAL be=<NONE> srv=<none> ts=00 age=2m calls=1
"""
    assert older_than(NAMES, text, 30) == ["0x2", "0x3"]


def test_role_lasts_only_as_long_as_the_permission(tmp_path: Path) -> None:
    path = tmp_path / "role.json"
    assert read_role(path, 0) == Role()
    role = {"role": "holder", "epoch": 3, "identity": "me_1", "validUntil": 100.0}
    path.write_text(json.dumps(role))
    assert read_role(path, 99.9) == Role(holder=True, epoch=3, identity="me_1")
    assert not read_role(path, 100.0).holder
    path.write_text(json.dumps(role | {"role": "standby"}))
    assert read_role(path, 0) == Role(epoch=3, identity="me_1", known=True)
    path.write_text(json.dumps(role | {"role": "unknown"}))
    assert read_role(path, 0) == Role(epoch=3, identity="me_1")
    path.write_text("{")
    assert read_role(path, 0) == Role()


def test_the_kept_choice_comes_back_as_a_record(tmp_path: Path) -> None:
    path = tmp_path / "choice.json"
    assert load_record(path) is None
    last = Switch("a", "b", "Requested", "t", 120)
    pending = Pending("a", "t", 1.0, 3)
    choice = Choice("b", "t", 4, last, 9, unplanned=("t",), pending=pending, outage=3.0)
    save_choice(path, choice, "me")
    assert load_record(path) == Record(
        active="b",
        since="t",
        switch_count=4,
        last_switch=last,
        unplanned=("t",),
        routed_to="me",
    )
    path.write_text('{"choice": 7}')
    assert load_record(path) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"active": 7},
        {"since": None},
        {"switch_count": "8"},
        {"switch_count": -1},
        {"unplanned": [1]},
        {"unplanned": 3},
        {"last_switch": {"from": "a"}},
    ],
)
def test_a_choice_of_a_form_that_nobody_wrote_counts_as_none(changes: dict[str, object]) -> None:
    text = json.loads(choice_text(Choice("b", "t", 4, unplanned=("t",)), "me"))
    assert choice_record(json.dumps(text).encode()) is not None
    text["choice"] |= changes
    assert choice_record(json.dumps(text).encode()) is None


def test_certificates_are_loaded_once_a_change(tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_text("certificate 1\n")
    key.write_text("key 1\n")
    loaded: list[tuple[str, str, str]] = []

    def load(kind: str, name: str, pem: str) -> None:
        loaded.append((kind, name, pem))
        if "bad" in pem:
            raise HaproxyFailure("no")

    certificates = Certificates(certificate, None)
    certificates.started()
    certificates.renew(load)
    assert loaded == []
    key.write_text("key 2\n")
    certificates.renew(load)
    certificates.renew(load)
    assert loaded == [("cert", str(certificate), "certificate 1\n\nkey 2\n")]
    key.write_text("bad\n")
    certificates.renew(load)
    certificates.renew(load)
    assert (len(loaded), certificates.renewals, certificates.failures) == (2, 1, 1)
    key.write_text("key 2\n")  # put back: HAProxy uses it all the time
    certificates.renew(load)
    assert len(loaded) == 2


def test_what_was_refused_is_tried_again_when_another_file_changes(tmp_path: Path) -> None:
    """A new HAProxy, for the authority, reads the certificate too, and that may be the bad one."""
    certificate, key, authority = (tmp_path / name for name in ("tls.crt", "tls.key", "ca.crt"))
    certificate.write_text("certificate\n")
    key.write_text("key\n")
    authority.write_text("one\n")
    used: list[str] = []

    def load(kind: str, _name: str, _pem: str) -> None:
        if "bad" in key.read_text():
            raise HaproxyFailure("no")
        used.append(kind)

    certificates = Certificates(certificate, authority)
    certificates.started()
    key.write_text("bad\n")
    authority.write_text("two\n")
    for _ in range(2):
        certificates.renew(load)
    assert (used, certificates.failures) == ([], 2)
    key.write_text("key\n")
    for _ in range(2):
        certificates.renew(load)
    assert used == ["ca-file"]


def test_a_certificate_that_haproxy_did_not_answer_about_is_loaded_again(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text("one\n")
    silent = [HaproxySilent("no answer"), HaproxySilent("no answer")]
    loaded: list[str] = []

    def load(_kind: str, _name: str, pem: str) -> None:
        if silent:
            raise silent.pop()
        loaded.append(pem)

    certificates = Certificates(None, authority)
    certificates.started()
    authority.write_text("two\n")
    for _ in range(4):
        certificates.renew(load)
    assert loaded == ["two\n"]
    assert (certificates.renewals, certificates.failures) == (1, 0)


def test_no_answer_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither to the first command nor to the second one."""
    monkeypatch.setattr(haproxy, "ASK_SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX) as nobody_accepts:
        nobody_accepts.bind(str(tmp_path / "sock"))
        nobody_accepts.listen()
        with pytest.raises(HaproxySilent, match="set ssl cert"):
            Runtime(tmp_path / "sock", NAMES).load_certificate("x", "pem")

    class SilentAtCommit(Runtime):
        def ask(self, *lines: str, payload: str = "") -> list[str]:
            if lines[0].startswith("commit"):
                raise HaproxySilent("no answer")
            return ["Transaction created for certificate x!"]

    with pytest.raises(HaproxySilent):
        SilentAtCommit(tmp_path / "sock", NAMES).load_certificate("x", "pem")


def test_metrics_text() -> None:
    text = render(Figures(active="b", states=(("a", "DOWN"), ("b", "UP")), holder=True))
    assert 'dpe_balancer_member_up{member="a"} 0\n' in text
    assert 'dpe_balancer_member_active{member="b"} 1\n' in text
    assert "dpe_balancer_holder 1\n" in text
    assert "dpe_balancer_full 0\n" in text
    assert "# TYPE dpe_balancer_switches_total counter\n" in text
    assert "last_gap" not in text and "active_since" not in text
    last = Switch("a", "b", "MemberDown", "2026-11-26T00:00:00Z", 310)
    text = render(Figures(since=1795651200.5, last_gap=0.31, last_switch=last, flapping=True))
    labels = '{from="a",to="b",cause="MemberDown"}'
    assert f"dpe_balancer_last_switch_info{labels} 1\n" in text
    assert "dpe_balancer_active_since_timestamp_seconds 1795651200.5\n" in text
    assert "dpe_balancer_last_gap_seconds 0.31\n" in text
    assert "dpe_balancer_flapping 1\n" in text


def test_wrong_settings_name_the_field(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    with pytest.raises(ValueError, match=r"agent\.json"):
        load_config(path)
    path.write_text('{"members": [{"name": "a", "id": 1}]}')
    with pytest.raises(ValueError, match="exactly 2"):
        load_config(path)
    members = [{"name": "a", "id": 1}, {"name": "b", "id": 2}]
    path.write_text(json.dumps({"members": members, "tlsMode": "Maybe"}))
    with pytest.raises(ValueError, match="tlsMode 'Maybe'"):
        load_config(path)
    path.write_text(json.dumps({"members": members, "tlsMode": "None"}))
    with pytest.raises(ValueError, match="'service' is missing"):
        load_config(path)
    with pytest.raises(ValueError, match="POD_NAME, POD_UID"):
        pod_from_environment({"POD_NAMESPACE": "x", "POD_IP": "10.0.0.1"})


def test_a_pod_whose_first_address_is_ipv6_says_what_it_needs() -> None:
    names = {"POD_NAME": "x", "POD_NAMESPACE": "x", "POD_UID": "u"}
    with pytest.raises(ValueError, match=r"fd00::7, is IPv6: .* an IPv4 address"):
        pod_from_environment({**names, "POD_IP": "fd00::7"})
