"""deploy/kubernetes and deploy/compose.yaml: valid, complete, and with commands that hitl takes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jsonschema_rs
import pytest
import yaml
from psycopg import sql

from hitl_cli.cli.serving import STOPPED_WITHIN_S
from hitl_cli.client.connect import connect
from hitl_cli.client.protocol import get_promise
from hitl_cli.format.durations import parse_duration
from hitl_cli.settings import convert
from hitl_cli.worker.run import GRACE_S
from tests.deploy.units import DEPLOY
from tests.docs.pages import parts
from tests.docs.test_commands import read
from tests.postgres.cluster import PASSWORD, binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.cluster import Cluster

ROOT = DEPLOY.parent
KUBERNETES = DEPLOY / "kubernetes"
SCHEMAS = "kubernetes-validate==1.37.0"
"""A package that has the JSON schemas of Kubernetes."""

OLDEST = "v1.30.0"
"""The oldest version of Kubernetes whose schemas the manifests must fit."""

STOP_S = max(GRACE_S, STOPPED_WITHIN_S)
MADE_BY_HAND = {"resonate-sql", "hitl-tls"}


def manifests(*folders: str) -> list[dict[str, Any]]:
    files = [file for folder in folders for file in sorted((KUBERNETES / folder).glob("*.yaml"))]
    assert files
    return [found for file in files for found in yaml.safe_load_all(file.read_text())]


def pods() -> Iterator[dict[str, Any]]:
    for found in manifests("."):
        if "template" in found["spec"]:
            yield found["spec"]["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def kind(name: str) -> list[dict[str, Any]]:
    return [found for found in manifests(".") if found["kind"] == name]


def test_no_pod_has_rights_that_it_does_not_need() -> None:
    for pod in pods():
        assert pod["automountServiceAccountToken"] is False
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
        for container in containers(pod):
            assert container["resources"]["limits"]["memory"]
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_every_container_runs_a_command_that_hitl_takes() -> None:
    commands = [one["args"] for pod in pods() for one in containers(pod) if "hitl:" in one["image"]]
    assert sorted(words[0] for words in commands) == ["gateway", "postgres", "worker"]
    for words in commands:
        read(words)


def test_a_deployment_is_found_checked_and_drained() -> None:
    budgets = [budget["spec"]["selector"]["matchLabels"] for budget in kind("PodDisruptionBudget")]
    for deployment in kind("Deployment"):
        spec = deployment["spec"]
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"] == labels
        assert labels in budgets
        [container] = spec["template"]["spec"]["containers"]
        port = {"gateway": "http", "worker": "metrics"}[container["name"]]
        assert port in [one["name"] for one in container["ports"]]
        for probe, path in (("startup", "/health"), ("liveness", "/health"), ("readiness", "/ready")):
            assert container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": port}
        assert spec["template"]["spec"]["terminationGracePeriodSeconds"] > STOP_S
    [service] = kind("Service")
    assert service["spec"]["selector"] in budgets


def test_no_proxy_logs_the_addresses_of_links() -> None:
    [ingress] = kind("Ingress")
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/enable-access-log"] == "false"


def test_what_a_pod_mounts_is_in_the_examples() -> None:
    known = {found["metadata"]["name"] for found in manifests("example")} | MADE_BY_HAND
    for pod in pods():
        for volume in pod["volumes"]:
            if "emptyDir" not in volume:
                assert (volume.get("configMap", {}).get("name") or volume["secret"]["secretName"]) in known
    files = {name for found in manifests("example") for name in found.get("stringData", {})}
    paths = [
        variable["value"] for pod in pods() for one in containers(pod) for variable in one.get("env", ())
    ]
    assert {Path(path).name for path in paths} <= files


def test_the_example_of_a_config_map_is_that_of_the_image() -> None:
    [config] = [found for found in manifests("example") if found["kind"] == "ConfigMap"]
    for name in ("hitl.toml", "workflows.py"):
        lines = (DEPLOY / "app" / name).read_text().splitlines()
        given = config["data"][name].splitlines()
        assert [line for line in given if not line.startswith("server")] == [
            line for line in lines if not line.startswith("server")
        ]


@pytest.mark.heavy
def test_the_manifests_fit_the_schemas_of_kubernetes(pytestconfig: pytest.Config) -> None:
    folder = pytestconfig.cache.mkdir("kubernetes-schemas")
    schemas = folder / "kubernetes_validate" / "kubernetes-json-schema" / f"{OLDEST}-local"
    if not schemas.exists():
        install = [str(ROOT / "scripts" / "uv"), "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*install, "--target", str(folder), SCHEMAS], check=True)
    for found in manifests(".", "example"):
        group, _, version = found["apiVersion"].rpartition("/")
        name = "-".join(filter(None, (found["kind"].lower(), group.partition(".")[0], version)))
        schema = json.loads((schemas / f"{name}.json").read_text())
        registry = jsonschema_rs.Registry(
            [("_definitions.json", json.loads((schemas / "_definitions.json").read_text()))]
        )
        errors = list(jsonschema_rs.validator_for(schema, registry=registry).iter_errors(found))
        assert errors == [], name


# Compose

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OWN = {name: one for name, one in SERVICES.items() if name != "postgres"}


def test_the_services_run_commands_that_hitl_takes() -> None:
    for name in ("gateway", "worker"):
        read(OWN[name]["command"])
    assert "exec hitl postgres install" in OWN["install"]["command"][0]
    assert OWN["install"]["restart"] == "no"


def test_every_service_is_restarted_checked_and_has_time_to_end() -> None:
    for one in (SERVICES["postgres"], OWN["gateway"], OWN["worker"]):
        assert one["restart"] == "unless-stopped"
        assert parse_duration(one["stop_grace_period"]) > STOP_S * 1_000
    for one in SERVICES.values():
        assert {"max-size", "max-file"} <= {*one["logging"]["options"]}
        assert one["mem_limit"]
    for one in OWN.values():
        assert (one["read_only"], one["cap_drop"]) == (True, ["ALL"])
        assert one["depends_on"]["postgres"] == {"condition": "service_healthy"}
    for name in ("gateway", "worker"):
        assert OWN[name]["depends_on"]["install"] == {"condition": "service_completed_successfully"}
    [job] = kind("Job")
    assert SERVICES["postgres"]["image"] == job["spec"]["template"]["spec"]["initContainers"][0]["image"]


def test_secrets_are_files_that_the_services_name() -> None:
    for one in SERVICES.values():
        files = [value for name, value in one.get("environment", {}).items() if name.endswith("_FILE")]
        assert {Path(file).name for file in files} <= {*one["secrets"]}
        assert {*one["secrets"]} <= {*COMPOSE["secrets"]}
        assert not [name for name in one.get("environment", {}) if name.endswith("PASSWORD")]


def test_the_settings_are_valid_and_the_files_are_there() -> None:
    import tomllib

    convert(tomllib.loads((DEPLOY / "app" / "hitl.toml").read_text()), DEPLOY / "app" / "hitl.toml")
    for one in SERVICES.values():
        for volume in one["volumes"]:
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or source == "./resonate.sql" or (DEPLOY / source).exists()


def test_the_users_of_the_containers_can_read_what_is_mounted_whatever_the_umask(tmp_path: Path) -> None:
    deploy = tmp_path / "deploy"
    made_by_hand = [tmp_path / "mail-password", tmp_path / "oidc-secret", deploy / "resonate.sql"]
    [block] = (one.text for one in parts(ROOT / "docs/guides/containers.md") if "mkdir -m" in one.text)
    commands = block.replace("/path/to", str(tmp_path))
    assert commands != block
    copy = "mkdir deploy; cp -R --no-preserve=mode $0/app $0/postgres deploy; touch $@; cd deploy"
    script = f"set -e; docker() {{ :; }}; umask 077; {copy}\n{commands}"
    subprocess.run(["bash", "-c", script, DEPLOY, *made_by_hand], cwd=tmp_path, check=True)
    sources = [volume.partition(":")[0] for one in SERVICES.values() for volume in one["volumes"]]
    mounted = [deploy / source for source in sources if source not in COMPOSE["volumes"]]
    mounted += [deploy / secret["file"] for secret in COMPOSE["secrets"].values()]
    for at in (at for place in mounted for at in (place, *place.rglob("*"))):
        wanted = 0o005 if at.is_dir() else 0o004
        assert at.stat().st_mode & wanted == wanted, at
    assert (deploy / "secrets").stat().st_mode & 0o077 == 0


def test_no_secret_is_an_argument_of_a_command_that_is_started() -> None:
    places = [DEPLOY / "postgres" / "role.sh", *DEPLOY.parent.glob("docs/guides/*.md")]
    found = [re.findall(r"psql .*(?:--set|-c|-v)[ =].*\$\(cat .*", file.read_text()) for file in places]
    assert not any(found)


@pytest.mark.heavy
def test_the_role_of_the_services_can_do_what_they_need(
    postgres: Cluster, database: str, tmp_path: Path
) -> None:
    (tmp_path / "db-password").write_text("it's a password\n")
    env = {
        "PATH": f"{binaries()}:/usr/bin:/bin",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres.port),
        "PGPASSWORD": PASSWORD,
        "POSTGRES_USER": "postgres",
        "POSTGRES_DB": database.rpartition("/")[2],
        "DB_PASSWORD_FILE": str(tmp_path / "db-password"),
    }
    subprocess.run(["bash", "-e", str(DEPLOY / "postgres" / "role.sh")], env=env, check=True)
    try:
        with connect(postgres.url(env["POSTGRES_DB"], "hitl", quote("it's a password"))) as client:
            assert get_promise(client, "hitl") is None
    finally:
        postgres.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier("hitl")))
