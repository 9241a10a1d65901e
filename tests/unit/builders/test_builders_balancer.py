# SPDX-License-Identifier: Apache-2.0
"""The balancer: two pods apart, frozen checked config, one Service without a selector."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.builders.builder_samples import (
    cluster_ips,
    container,
    env,
    pair_context,
    pair_objects,
    pair_spec,
    pod_spec,
)

from dpe_balancer.switching import TOGETHER_SECONDS
from dpe_operator.api.server import DpeServerSpec
from dpe_operator.builders import balancer, balancer_config, haproxy
from dpe_operator.builders.context import Manifest

TERMINATE = {"mode": "Terminate", "certificateSecretRef": {"name": "dpe-tls"}}


def balanced(health: Manifest | None = None, **load_balancer: Any) -> DpeServerSpec:
    return pair_spec(health={"path": "/status", **(health or {})}, loadBalancer=load_balancer)


def config(made: dict[tuple[str, str], Manifest]) -> Manifest:
    """The one ConfigMap among what was made."""
    [found] = [manifest for (kind, _), manifest in made.items() if kind == "ConfigMap"]
    return found


def deployment(spec: DpeServerSpec, *, config_hash: str = "abc") -> Manifest:
    found = balancer.balancer_deployment(
        pair_context(spec), spec, image="balancer:1", config_hash=config_hash
    )
    assert found is not None
    return found


def service(spec: DpeServerSpec) -> Manifest:
    found = balancer.balancer_service(pair_context(spec), spec)
    assert found is not None
    return found


def config_map(spec: DpeServerSpec, **addresses: str) -> Manifest | None:
    return balancer_config.balancer_config_map(
        pair_context(spec), spec, cluster_ips=addresses or cluster_ips(spec)
    )


def mounts(made: Manifest) -> dict[str, str]:
    return {mount["name"]: mount["mountPath"] for mount in made["volumeMounts"]}


def test_two_pods_and_no_third_during_an_update() -> None:
    spec = deployment(pair_spec())["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


@pytest.mark.parametrize(
    ("site", "own", "hard"),
    [
        (None, None, True),
        ("Preferred", None, False),
        ("Preferred", "Required", True),
        ("Required", "Preferred", False),
    ],
)
def test_the_nearest_placement_counts(site: str | None, own: str | None, hard: bool) -> None:
    spec = pair_spec(placement=site, loadBalancer={"placement": own})
    affinity = pod_spec(deployment(spec))["affinity"]["podAntiAffinity"]
    assert ("requiredDuringSchedulingIgnoredDuringExecution" in affinity) is hard


def test_the_elector_is_process_one_and_starts_the_agent() -> None:
    command = container(deployment(pair_spec()))["command"]
    split = command.index("--")
    assert command[0] == "dpe-elector"
    assert command[command.index("--lease") + 1] == "radio-balancer"
    assert command[split + 1 :] == ["dpe-balancer", "--config", "/etc/dpe-balancer/agent.json"]


def test_the_pod_lives_longer_than_the_command_may_drain() -> None:
    made = deployment(pair_spec())
    command = container(made)["command"]
    grace = int(command[command.index("--grace") + 1])
    assert pod_spec(made)["terminationGracePeriodSeconds"] >= grace + 10


def test_no_cpu_limit_where_an_elector_runs() -> None:
    usual = container(deployment(pair_spec()))["resources"]
    own = container(deployment(balanced(resources={"requests": {"cpu": "2"}})))["resources"]
    assert "cpu" not in usual["limits"]
    assert (own["requests"]["cpu"], "cpu" in own["limits"]) == ("2", False)


def test_the_pod_knows_who_and_where_it_is() -> None:
    assert set(env(deployment(pair_spec()))) == {
        "POD_NAME",
        "POD_NAMESPACE",
        "POD_UID",
        "POD_IP",
        "NODE_NAME",
        "NODE_ZONE",
    }


def test_only_this_container_gets_the_token() -> None:
    spec = pod_spec(deployment(pair_spec()))
    assert spec["automountServiceAccountToken"] is False
    place = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert mounts(spec["containers"][0])["api-access"] == place
    assert "api-access" not in mounts(spec["initContainers"][0])
    sources = next(v for v in spec["volumes"] if v["name"] == "api-access")["projected"]["sources"]
    assert [next(iter(source)) for source in sources] == [
        "serviceAccountToken",
        "configMap",
        "downwardAPI",
    ]


def test_the_config_is_copied_checked_and_then_frozen() -> None:
    """A changed ConfigMap never gets under a running HAProxy."""
    spec = pod_spec(deployment(pair_spec()))
    init, main = spec["initContainers"][0], spec["containers"][0]
    script = init["command"][-1]
    assert "haproxy -c -f /etc/dpe-balancer/haproxy.cfg" in script
    assert mounts(init)["config-source"] != mounts(init)["config"]
    assert "config-source" not in mounts(main)
    assert {"name": "config", "mountPath": "/etc/dpe-balancer", "readOnly": True} in main[
        "volumeMounts"
    ]


def test_a_new_config_is_a_new_pod() -> None:
    one, two = (deployment(pair_spec(), config_hash=h)["spec"]["template"] for h in ("a", "b"))
    assert one != two


@pytest.mark.parametrize("tls", [{"mode": "Passthrough"}, {"mode": "None"}])
def test_no_certificate_is_mounted_where_none_is_used(tls: Manifest) -> None:
    made = container(deployment(balanced(tls=tls)))
    assert not {"certificate", "member-ca"} & set(mounts(made))


def test_certificates_are_mounted_for_the_check_too() -> None:
    spec = balanced(tls=TERMINATE, health={"tls": {"caSecretRef": {"name": "ca", "key": "x.pem"}}})
    made = pod_spec(deployment(spec))
    for one in (made["initContainers"][0], made["containers"][0]):
        assert mounts(one)["certificate"] == "/etc/dpe-balancer-tls"
        assert mounts(one)["member-ca"] == "/etc/dpe-balancer-ca"
    volumes = {volume["name"]: volume for volume in made["volumes"]}
    assert volumes["certificate"]["secret"] == {"secretName": "dpe-tls"}
    assert volumes["member-ca"]["secret"]["items"] == [{"key": "x.pem", "path": "ca.crt"}]


def test_a_patch_reaches_the_balancer() -> None:
    patch = {"spec": {"priorityClassName": "system-cluster-critical"}}
    made = pod_spec(deployment(balanced(podTemplate=patch)))
    assert made["priorityClassName"] == "system-cluster-critical"


def test_the_service_has_no_selector_and_one_port() -> None:
    spec = service(pair_spec())["spec"]
    assert "selector" not in spec
    assert spec["ipFamilyPolicy"] == "SingleStack"
    assert [(port["name"], port["port"]) for port in spec["ports"]] == [("https", 443)]


@pytest.mark.parametrize(
    ("tls", "scheme", "name", "inside"),
    [
        ({"mode": "Passthrough"}, "HTTPS", "https", 8443),
        (TERMINATE, "HTTP", "https", 8443),
        ({"mode": "None"}, "HTTP", "http", 8080),
    ],
)
def test_all_parts_agree_on_the_port(tls: Manifest, scheme: str, name: str, inside: int) -> None:
    spec = balanced(tls=tls, health={"scheme": scheme})
    found = pair_objects(spec)
    made = {(m["kind"], m["metadata"]["name"]): m for m in found.applied + found.initial}
    [service_port] = made["Service", "radio-balancer"]["spec"]["ports"]
    [slice_port] = made["EndpointSlice", "radio-balancer"]["ports"]
    pod_port = container(made["Deployment", "radio-balancer"])["ports"][0]
    agent = json.loads(config(made)["data"]["agent.json"])
    assert {service_port["name"], slice_port["name"], pod_port["name"], agent["portName"]} == {name}
    assert {
        service_port["targetPort"],
        slice_port["port"],
        pod_port["containerPort"],
        agent["listenPort"],
    } == {inside}
    assert f":{inside}" in config(made)["data"]["haproxy.cfg"]


def test_the_service_as_the_user_wants_it() -> None:
    spec = balanced(
        service={
            "type": "LoadBalancer",
            "nodePort": 30443,
            "annotations": {"pool": "studio"},
            "loadBalancerClass": "x/y",
        }
    )
    made = service(spec)
    assert made["metadata"]["annotations"] == {"pool": "studio"}
    assert (made["spec"]["type"], made["spec"]["loadBalancerClass"]) == ("LoadBalancer", "x/y")
    assert made["spec"]["ports"][0]["nodePort"] == 30443


def test_haproxy_is_given_addresses_and_not_names() -> None:
    made = config_map(pair_spec(port=8443), a="10.96.1.1", b="10.96.1.2")
    assert made is not None
    text = made["data"]["haproxy.cfg"]
    assert "10.96.1.1:8443" in text
    assert "10.96.1.2:8443" in text


@pytest.mark.parametrize("known", [{}, {"a": "10.96.1.1"}, {"a": "10.96.1.1", "b": ""}])
def test_no_config_before_all_members_have_an_address(known: dict[str, str]) -> None:
    spec = pair_spec()
    made = balancer_config.balancer_config_map(pair_context(spec), spec, cluster_ips=known)
    assert made is None


def test_external_members_need_no_address_of_ours() -> None:
    spec = pair_spec(
        members=[
            {"name": "a", "external": {"host": "192.0.2.11", "port": 8443}},
            {"name": "b", "external": {"host": "dpe2.studio.example"}},
        ]
    )
    made = balancer_config.balancer_config_map(pair_context(spec), spec, cluster_ips={})
    assert made is not None
    text, agent = made["data"]["haproxy.cfg"], json.loads(made["data"]["agent.json"])
    assert "192.0.2.11:8443" in text
    assert "dpe2.studio.example:443 " in text
    assert [member["serviceName"] for member in agent["members"]] == [None, None]


def test_members_are_numbered_as_in_the_spec() -> None:
    made = config_map(pair_spec(members=[{"name": "z"}, {"name": "a"}]))
    assert made is not None
    agent = json.loads(made["data"]["agent.json"])
    assert [(m["name"], m["id"], m["serviceName"]) for m in agent["members"]] == [
        ("z", 1, "radio-member-z"),
        ("a", 2, "radio-member-a"),
    ]


def test_the_agent_finds_the_record_and_the_certificates() -> None:
    made = config_map(balanced(tls=TERMINATE, health={"tls": {"caSecretRef": {"name": "ca"}}}))
    assert made is not None
    agent = json.loads(made["data"]["agent.json"])
    assert {agent["service"], agent["slice"], agent["lease"]} == {"radio-balancer"}
    assert agent["certificateFile"] == "/etc/dpe-balancer-tls/tls.crt"
    assert agent["memberCaFile"] == "/etc/dpe-balancer-ca/ca.crt"


def test_health_and_timings_reach_haproxy() -> None:
    made = config_map(
        balanced(
            health={"status": "200-299", "bodyContains": "all well", "timeout": "1s"},
            timings={"checkInterval": "700ms", "fastInterval": "70ms", "fall": 5, "rise": 4},
        )
    )
    assert made is not None
    text = made["data"]["haproxy.cfg"]
    for part in ("all well", "200-299", "1000ms", "inter 700ms", "fastinter 70ms", "fall 5"):
        assert part in text


def test_the_hash_follows_the_text_and_nothing_else() -> None:
    one, again = config_map(pair_spec()), config_map(pair_spec(podLabels={"x": "y"}))
    other = config_map(pair_spec(basePath="/Other", health={"path": "/other"}))
    assert one and again and other
    hashes = [balancer_config.config_hash(made["data"]) for made in (one, again, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert len(hashes[0]) == 16


def test_nothing_is_made_where_the_site_has_its_own_balancer() -> None:
    spec = balanced(type="External", externalAddress={"host": "dpe.studio.example", "port": 8443})
    found = pair_objects(spec)
    assert not found.initial
    assert not [m for m in found.applied if m["metadata"]["name"] == "radio-balancer"]
    member = next(m for m in found.applied if m["kind"] == "Deployment")
    assert env(member)["DPE_SERVICE_ROOT"]["value"] == (
        "https://dpe.studio.example:8443/DpeWebApplication"
    )


def test_no_object_holds_a_secret_s_contents() -> None:
    spec = pair_spec(
        loadBalancer={"tls": TERMINATE},
        envFrom=[{"secretRef": {"name": "core"}}],
        imagePullSecrets=[{"name": "registry"}],
    )
    kinds = {manifest["kind"] for manifest in pair_objects(spec).applied}
    assert "Secret" not in kinds


def test_fail_back_and_flap_limit_reach_the_agent() -> None:
    def agent(**settings: Any) -> Manifest:
        made = config_map(balanced(**settings))
        assert made is not None
        found: Manifest = json.loads(made["data"]["agent.json"])
        return found

    own = agent(
        failback={"policy": "Automatic", "quietPeriod": "30m"},
        flapLimit={"switches": 5, "period": "1h"},
    )
    names = ("failbackSeconds", "flapSwitches", "flapSeconds")
    assert [own[name] for name in names] == [1800, 5, 3600]
    assert [agent()[name] for name in names] == [None, 3, 600]


@pytest.mark.parametrize(
    ("timings", "timeout", "seconds"),
    [
        pytest.param({}, "800ms", 2.0, id="as it is by default"),
        pytest.param({}, "1500ms", 0.075, id="the checks take nearly all of the 5 s"),
        pytest.param({}, "2s", 0, id="no time is left"),
        pytest.param({"fall": 5}, "800ms", 0.525, id="more checks must fail"),
        pytest.param(
            {"checkInterval": "2s", "connectTimeout": "1s"}, "500ms", 0, id="a slow handshake"
        ),
    ],
)
def test_how_long_a_late_server_is_kept_leaves_time_for_its_checks(
    timings: dict[str, Any], timeout: str, seconds: float
) -> None:
    made = config_map(balanced({"timeout": timeout}, timings=timings))
    assert made is not None
    assert json.loads(made["data"]["agent.json"])["lateSeconds"] == pytest.approx(seconds)
    assert haproxy.TOGETHER_MS == TOGETHER_SECONDS * 1000
