"""The chart: what it makes, what it refuses, and an operator that has what it gives and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from botocore.utils import ContainerMetadataFetcher

from inference_operator.runtime.rbac import RULES
from inference_sandbox.control_plane import Cluster, ControlPlane
from tests.chart.conftest import CHART, Helm
from tests.operator import live
from tests.operator.live import ENVIRONMENTS, OBJECT, Stage

ROOT = CHART.parents[1]
EVERYTHING = (
    "--set=environment.enabled=true,networkPolicy.enabled=true,metrics.serviceMonitor.enabled=true",
    "--set=metrics.prometheusRule.enabled=true,metrics.dashboard.enabled=true",
    "--set=serviceAccount.annotations.eks\\.amazonaws\\.com/role-arn=arn:aws:iam::123456789012:role/inference-operator",
    f"--set-json=environment.spec={json.dumps({'region': 'eu-west-1', 'cluster': 'inference'})}",
)
NAMESPACED = ("--set=namespaces={shop,search},crds.enabled=false,replicas=1,image.digest=sha256:" + 64 * "a",)
SETS = {"as it is": (), "two namespaces": NAMESPACED, "everything": EVERYTHING}


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in objects if one["kind"] == kind]


@pytest.mark.parametrize("values", SETS.values(), ids=SETS)
def test_lint_finds_nothing(helm: Helm, values: tuple[str, ...]) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), *values)


@pytest.mark.parametrize("values", SETS.values(), ids=SETS)
def test_the_api_server_accepts_what_the_chart_makes(
    helm: Helm, bare_cluster: Cluster, values: tuple[str, ...]
) -> None:
    known = [one for one in helm.objects(*values) if "monitoring.coreos.com" not in one["apiVersion"]]
    known = [one for one in known if one["kind"] != "InferenceEnvironment"]  # its kind comes with the chart
    for name in ("operators", "shop", "search"):
        bare_cluster.kubectl(
            "apply", "-f", "-", stdin=f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"
        )
    said = bare_cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump_all(known)
    )
    assert len(said.splitlines()) == len(known) > 5


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("replica=3", "replica"),
        ("replicas=-1", "replicas"),
        ("namespaces={Shop}", "namespaces"),
        ("operator.logLevel=LOUD", "logLevel"),
        ("image.digest=sha256:123", "digest"),
        ("metrics.port=80", "port"),
        ("operator.volumeMounts[0].name=a", "mountPath"),
        ("terminationGracePeriodSeconds=5", "terminationGracePeriodSeconds"),
        ("networkPolicy.egressPorts={}", "egressPorts"),
        ("environment.spec.policy.imagez={a/*}", "imagez"),
        ("environment.spec.network.assignPublicIp=maybe", "assignPublicIp"),
        ("environment.spec.notifications[0].slack.url=a", "slack"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(helm: Helm, value: str, complaint: str) -> None:
    done = helm.run("template", "release", str(CHART), f"--set={value}")
    assert done.returncode != 0
    assert complaint in done.stderr


def test_the_pods_may_do_nothing_that_they_need_not(helm: Helm) -> None:
    for values in SETS.values():
        (deployment,) = of_kind(helm.objects(*values), "Deployment")
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_the_pod_of_helm_test_is_none_of_the_operators_and_may_ask_it(helm: Helm) -> None:
    objects = helm.objects(*EVERYTHING, '--set-json=networkPolicy.metricsFrom=[{"namespaceSelector":{}}]')
    (pod,) = of_kind(objects, "Pod")
    labels = pod["metadata"]["labels"]
    (deployment,), (service,) = of_kind(objects, "Deployment"), of_kind(objects, "Service")
    for selector in (deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"]):
        assert not selector.items() <= labels.items()
    (policy,) = of_kind(objects, "NetworkPolicy")
    let_in = [
        each["podSelector"]["matchLabels"] for each in policy["spec"]["ingress"][0]["from"] if "podSelector" in each
    ]
    assert let_in == [labels]
    assert of_kind(helm.objects("--set=metrics.service.enabled=false"), "Pod") == [], "there is nothing to ask"


def test_the_pod_of_helm_test_gets_the_image_and_a_node_as_the_operator_does(helm: Helm) -> None:
    where = {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "platform"},
        "tolerations": [{"key": "platform", "operator": "Exists"}],
    }
    objects = helm.objects(*(f"--set-json={name}={json.dumps(value)}" for name, value in where.items()))
    (pod,), (deployment,) = of_kind(objects, "Pod"), of_kind(objects, "Deployment")
    for spec in (pod["spec"], deployment["spec"]["template"]["spec"]):
        assert {name: spec[name] for name in where} == where
        assert spec["containers"][0]["image"] == "inference-operator:0.1.0"


def test_what_the_docs_give_an_operator_behind_a_proxy_is_there_in_its_container(helm: Helm, tmp_path: Path) -> None:
    shown = re.findall("```yaml\n(.*?)```", (ROOT / "docs" / "install.md").read_text(), re.DOTALL)
    (values,) = [text for text in shown if "HTTPS_PROXY" in text]
    (tmp_path / "values.yaml").write_text(values)
    (deployment,) = of_kind(helm.objects(f"--values={tmp_path / 'values.yaml'}"), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (bundle,) = [each["value"] for each in container["env"] if each["name"] == "AWS_CA_BUNDLE"]
    (mount,), (volume,) = container["volumeMounts"], pod["volumes"]
    assert Path(bundle).parent == Path(mount["mountPath"])
    assert mount["name"] == volume["name"]


def test_the_network_policy_lets_out_to_each_address_from_which_botocore_takes_credentials_on_eks(helm: Helm) -> None:
    (policy,) = of_kind(helm.objects(*EVERYTHING), "NetworkPolicy")
    (agent,) = [rule for rule in policy["spec"]["egress"] if "to" in rule]
    addresses = {str(ip_network(peer["ipBlock"]["cidr"]).network_address) for peer in agent["to"]}
    known = {
        host.strip("[]") for host in vars(ContainerMetadataFetcher)["_ALLOWED_HOSTS"] if not host.startswith("local")
    }
    assert addresses == known - {"169.254.170.2"}, "that one is ECS's"
    assert agent["ports"] == [{"port": 80, "protocol": "TCP"}]


def test_with_a_list_of_namespaces_no_cluster_role_tells_of_objects(helm: Helm) -> None:
    objects = helm.objects(*NAMESPACED)
    (cluster_role,) = [
        one for one in of_kind(objects, "ClusterRole") if one["metadata"]["name"][-4:] not in ("view", "edit")
    ]
    assert not [r for rule in cluster_role["rules"] for r in rule["resources"] if r.startswith("inferencedeployments")]
    assert {one["metadata"]["namespace"] for one in of_kind(objects, "Role")} == {"shop", "search", "operators"}


def test_users_who_may_edit_may_not_change_environments_or_any_status(helm: Helm) -> None:
    roles = of_kind(helm.objects(), "ClusterRole")
    (edit,) = [one for one in roles if one["metadata"]["name"].endswith("-edit")]
    (view,) = [one for one in roles if one["metadata"]["name"].endswith("-view")]
    assert {r for rule in edit["rules"] for r in rule["resources"]} == {
        "inferencedeployments",
        "inferencedeployments/scale",
    }
    assert {verb for rule in view["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}


# -- alerts and dashboard


def metric_names(expression: str) -> set[str]:
    promql_parser.parse(expression)  # raises at a wrong one
    return set(re.findall(r"inference_operator_[a-z_]+", expression))


def exported() -> set[str]:
    """The names of all series that the operator can have."""
    script = (
        "from inference_operator.runtime import handlers, fleet; from prometheus_client import REGISTRY;"
        "REGISTRY.register(fleet.Fleet(lambda: ()));"
        "print(*REGISTRY._names_to_collectors)"
    )
    names = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    return set(names.split())


def test_alerts_and_dashboard_ask_for_series_that_there_are() -> None:
    alerts = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    panels = json.loads((CHART / "files" / "dashboard.json").read_text())["panels"]
    asked = [alert["expr"] for alert in alerts]
    asked += [target["expr"] for panel in panels for target in panel["targets"]]
    used = {name for expression in asked for name in metric_names(expression)}
    assert len(used) > 8
    assert used <= exported()


def test_the_dashboard_counts_as_throttled_what_the_alert_does() -> None:
    alerts = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    panels = json.loads((CHART / "files" / "dashboard.json").read_text())["panels"]
    (alert,) = [each["expr"] for each in alerts if each["alert"] == "InferenceOperatorAwsThrottles"]
    (panel,) = [each["targets"][0]["expr"] for each in panels if each["title"].startswith("Throttled")]
    codes = [re.findall(r'code=~"([^"]+)"', expression) for expression in (alert, panel)]
    assert codes[0] == codes[1] != []


def test_the_docs_tell_of_every_series() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    ours = {name for name in exported() if name.startswith("inference_operator_")}
    told = {re.sub("_(bucket|sum|count|created)$", "", name) for name in ours}
    known = {re.sub("_total$", "", name) for name in re.findall(r"inference_operator_[a-z_]+", pages)}
    assert len(told) > 8
    assert {re.sub("_total$", "", name) for name in told} - known == set()


def test_each_alert_has_its_part_of_the_runbook() -> None:
    alerts = {alert["alert"] for alert in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())}
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    assert set(re.findall(r"^## (\w+)$", runbook, re.MULTILINE)) == alerts


# -- installed


@pytest.fixture
def fresh(helm: Helm, tmp_path: Path) -> Iterator[Helm]:
    with ControlPlane(tmp_path / "control-plane") as own:
        yield replace(helm, cluster=own.ready())


def packaged(helm: Helm, folder: Path) -> str:
    helm("package", str(CHART), "--destination", str(folder))
    (archive,) = folder.glob("*.tgz")
    return str(archive)


def install(helm: Helm, folder: Path, *values: str) -> None:
    helm("install", "release", packaged(helm, folder), "--namespace", "operators", "--create-namespace", *values)


def as_the_chart_lets_it(stage: Stage, cluster: Cluster, folder: Path, **settings: str) -> None:
    """From now on the stage's operator has the rights of the release's service account, and its settings."""
    kubeconfig = cluster.kubeconfig_for("release-inference-operator", namespace="operators", path=folder / "kubeconfig")
    lease = {"INFERENCE_OPERATOR_LEASE": "operators/release-inference-operator"}
    stage.operator.environment = {**stage.operator.environment, "KUBECONFIG": str(kubeconfig), **lease, **settings}


def from_apply_to_gone(stage: Stage) -> None:
    stage.apply("recommender")
    stage.until_ready("recommender")
    stage.patch("recommender", {"spec": {"models": {"path": "/recommender/2"}}})
    stage.until_ready("recommender")
    assert stage.get("recommender")["status"]["running"]["model"] == "/recommender/2"
    stage.delete("recommender")
    stage.until_gone("recommender")
    assert stage.live.holdings() == {}


def requests(cluster: Cluster) -> list[Mapping[str, Any]]:
    """What the operator asked of the API server."""
    assert cluster.audit_log is not None
    asked = [json.loads(line) for line in cluster.audit_log.read_text().splitlines()]
    return [one for one in asked if "objectRef" in one and one["objectRef"].get("resource") != "selfsubjectreviews"]


def rights(asked: list[Mapping[str, Any]]) -> set[tuple[str, str, str]]:
    """(group, resource, verb)"""
    found = set()
    for one in asked:
        about = one["objectRef"]
        resource = "/".join(filter(None, [about["resource"], about.get("subresource")]))
        found.add((about.get("apiGroup", ""), resource, one["verb"]))
    return found


def test_the_operator_runs_with_the_rights_of_the_chart_and_uses_each_of_them(fresh: Helm, tmp_path: Path) -> None:
    cluster = fresh.cluster
    assert cluster is not None
    install(fresh, tmp_path)
    with live.stage(cluster, tmp_path, "shop") as stage:
        as_the_chart_lets_it(stage, cluster, tmp_path)
        cluster.kubectl("label", "namespace", "shop", "inference=true")
        stage.change_environment(
            policy={"namespaces": {"matchLabels": {"inference": "true"}}},
            notifications=[{"webhook": {"secretRef": {"namespace": "operators", "name": "chat"}}}],
        )
        with stage.operator:
            from_apply_to_gone(stage)
            stage.until(lambda: any(one["objectRef"]["resource"] == "secrets" for one in requests(cluster)))
            stage.custom.delete_cluster_custom_object(*OBJECT, ENVIRONMENTS, "shop")
            stage.until(lambda: cluster.kubectl("get", ENVIRONMENTS, "-o", "name") == "")
            stage.custom.create_cluster_custom_object(*OBJECT, ENVIRONMENTS, stage.live.account.environment("shop"))
    asked = requests(cluster)
    denied = [one for one in asked if one["responseStatus"]["code"] == 403]
    assert [(one["verb"], one["objectRef"]) for one in denied] == []
    assert rights(asked) == {(rule.group, rule.resource, verb) for rule in RULES for verb in rule.verbs}


def test_the_operator_of_one_namespace_sees_no_other(fresh: Helm, tmp_path: Path) -> None:
    cluster = fresh.cluster
    assert cluster is not None
    cluster.apply_crds(ROOT / "crds")
    with live.stage(cluster, tmp_path, "shop") as stage:
        cluster.kubectl("create", "namespace", "elsewhere")
        install(fresh, tmp_path, "--set=namespaces={shop},crds.enabled=false")
        as_the_chart_lets_it(stage, cluster, tmp_path, INFERENCE_OPERATOR_NAMESPACES="shop")
        with stage.operator:
            stage.apply("stranger", namespace="elsewhere")
            from_apply_to_gone(stage)
        left = json.loads(cluster.kubectl("get", "inferencedeployments", "-n", "elsewhere", "-o", "json"))
        assert "status" not in left["items"][0]
    denied = [one for one in requests(cluster) if one["responseStatus"]["code"] == 403]
    assert [(one["verb"], one["objectRef"]) for one in denied] == []


def test_namespaces_that_may_not_be_read_do_not_keep_the_operator_from_the_others(fresh: Helm, tmp_path: Path) -> None:
    """A namespace that is deleted takes the Role in it along; one that is made again has none at first."""
    cluster = fresh.cluster
    assert cluster is not None
    cluster.apply_crds(ROOT / "crds")
    with live.stage(cluster, tmp_path, "shop") as stage:
        cluster.kubectl("create", "namespace", "search")
        values = "--set=namespaces={shop,search},crds.enabled=false"
        install(fresh, tmp_path, values)
        as_the_chart_lets_it(stage, cluster, tmp_path, INFERENCE_OPERATOR_NAMESPACES="gone,search,shop")
        cluster.kubectl("delete", "role,rolebinding", "--all", "-n", "search")
        with stage.operator:
            from_apply_to_gone(stage)
            stage.custom.delete_cluster_custom_object(*OBJECT, ENVIRONMENTS, "shop")
            stage.until(lambda: "can't be listed now" in stage.environment_stands()[2])
            fresh("upgrade", "release", str(CHART), "--namespace=operators", values)
            stage.until(lambda: stage.environment() is None)
        stage.custom.create_cluster_custom_object(*OBJECT, ENVIRONMENTS, stage.live.account.environment("shop"))


def test_an_environment_comes_with_the_first_installation_and_stays(fresh: Helm, tmp_path: Path) -> None:
    cluster = fresh.cluster
    assert cluster is not None
    document = yaml.safe_load((ROOT / "examples" / "environment.yaml").read_text())
    values = (
        "--set=environment.enabled=true,environment.name=production",
        f"--set-json=environment.spec={json.dumps(document['spec'])}",
    )

    def environment() -> dict[str, Any]:
        made: dict[str, Any] = json.loads(cluster.kubectl("get", "infenv", "production", "-o", "json"))
        return made

    install(fresh, tmp_path, *values)
    first = environment()
    assert first["spec"]["cluster"] == document["spec"]["cluster"]

    fresh("upgrade", "release", str(CHART), "--namespace=operators", *values, "--set=replicas=3")
    fresh("upgrade", "release", str(CHART), "--namespace=operators", *values, "--set=environment.spec.logging=null")
    assert environment()["metadata"]["uid"] == first["metadata"]["uid"]

    fresh("uninstall", "release", "--namespace=operators")
    assert environment()["metadata"]["uid"] == first["metadata"]["uid"], "services may run in it"
    assert "inferencedeployments.ecs-inference.dev" in cluster.kubectl("get", "crd", "-o", "name")
    assert (
        cluster.kubectl("get", "deployments,clusterroles", "-n=operators", "-l=app.kubernetes.io/instance=release")
        == ""
    )
