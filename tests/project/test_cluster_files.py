"""What a cluster is deployed with: Docker Compose, Kubernetes, and the config of both."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from alerter import __version__
from alerter.cli import main
from alerter.config import Config, load_config
from tests.support.waiting import HANG

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "cluster"
CONFIG = (FOLDER / "config.toml").read_text("utf-8")
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
WORKER, POSTGRES = COMPOSE["services"]["alerter"], COMPOSE["services"]["postgres"]
MANIFEST = (FOLDER / "kubernetes.yaml").read_text("utf-8")
OBJECTS = {each["kind"]: each for each in yaml.safe_load_all(MANIFEST)}
DEPLOYMENT = OBJECTS["Deployment"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
CONTAINER = POD["containers"][0]
UNIT = (ROOT / "deploy" / "alerter.service").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
# Seconds in which a worker ends: 8 for its work, and some for what it serves.
ENDS_WITHIN = 10
# The files that the config takes its secrets from.
SECRETS = {Path(found) for found in re.findall(r'"file:([^"]+)"', CONFIG)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The config, with secrets in a folder of the test."""
    for secret in SECRETS:
        (tmp_path / secret.name).write_text("postgresql://alerter@postgres/alerter")
        (tmp_path / secret.name).chmod(0o600)
    [folder] = {str(secret.parent) for secret in SECRETS}
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.replace(folder, str(tmp_path)))
    return path


@pytest.fixture
def config(path: Path) -> Config:
    return load_config(path, {}, secrets=True)


def setting(name: str) -> str:
    """A setting of the unit for systemd, or an instruction of the image."""
    [found] = re.findall(rf"(?m)^{name}[ =](.+)$", UNIT + DOCKERFILE)
    return str(found)


def seconds(duration: str) -> int:
    number, unit = int(re.sub(r"\D", "", duration)), re.sub(r"\d", "", duration)
    return number * {"s": 1, "m": 60, "min": 60}[unit]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG)


# The config


def test_check_accepts_the_config(path: Path) -> None:
    result = CliRunner().invoke(main, ["check", "--offline", "--config", str(path)])
    assert result.exit_code == 0, result.output
    warned = [line.split()[1] for line in result.output.splitlines() if line.startswith("warn")]
    assert warned == ["web.listen:"]  # of a container's own network


def test_kubernetes_has_the_same_config() -> None:
    assert OBJECTS["ConfigMap"]["data"] == {"config.toml": CONFIG}


# Docker Compose


def test_docker_compose_has_nothing_to_say_against_the_file() -> None:
    if not shutil.which("docker") or run("docker", "compose", "version").returncode:
        pytest.skip("Docker Compose is not installed here")
    done = run("docker", "compose", "--file", FOLDER / "compose.yaml", "config", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_three_workers_start_once_postgres_takes_connections() -> None:
    assert WORKER["deploy"] == {"replicas": 3}
    assert WORKER["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert {service["restart"] for service in (WORKER, POSTGRES)} == {"always"}
    assert "ports" not in WORKER  # three cannot have one port of the machine
    user, database = (POSTGRES["environment"][f"POSTGRES_{name}"] for name in ("USER", "DB"))
    ready = POSTGRES["healthcheck"]["test"]
    assert ready[:2] == ["CMD", "pg_isready"]
    assert {f"--username={user}", f"--dbname={database}", "--host=127.0.0.1"} < set(ready)


def test_each_container_gets_the_secrets_that_it_reads_and_no_others() -> None:
    assert {Path("/run/secrets") / name for name in WORKER["secrets"]} == SECRETS
    [password] = POSTGRES["secrets"]
    assert POSTGRES["environment"]["POSTGRES_PASSWORD_FILE"] == f"/run/secrets/{password}"
    assert COMPOSE["secrets"] == {
        name: {"file": f"./secrets/{name}"} for name in (*WORKER["secrets"], password)
    }


def test_what_compose_names_is_there() -> None:
    assert (FOLDER / WORKER["build"]).resolve() == ROOT
    [mounted] = WORKER["volumes"]
    source, target, mode = mounted.split(":")
    assert (FOLDER / source).resolve() == FOLDER / "config.toml"
    assert f"ALERTER_CONFIG={target} " in DOCKERFILE
    assert mode == "ro"
    [volume] = POSTGRES["volumes"]
    assert volume.split(":")[0] in COMPOSE["volumes"]


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A worker that answers health checks; the port that it listens on."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()
            self.wfile.write(b'{"reasons": ["the words of a customer"]}')

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.timeout = HANG
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield server.server_port
        thread.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_a_health_check_says_by_its_code_whether_a_worker_is_well(
    config: Config, status: int, code: int
) -> None:
    assert config.web
    *command, program = WORKER["healthcheck"]["test"]
    assert command == ["CMD", "python", "-c"]
    with answering(status) as port:
        there = program.replace(f"{config.web.listen[1]}", f"{port}")
        done = run(sys.executable, "-c", there)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


# Kubernetes


def test_the_kinds_in_the_manifest_and_their_names() -> None:
    assert {kind: each["apiVersion"] for kind, each in OBJECTS.items()} == {
        "ConfigMap": "v1",
        "Deployment": "apps/v1",
        "PodDisruptionBudget": "policy/v1",
        "Service": "v1",
    }
    assert {each["metadata"]["name"] for each in OBJECTS.values()} == {"alerter"}


def test_whatever_selects_workers_selects_all_of_them_and_nothing_else() -> None:
    labels = DEPLOYMENT["template"]["metadata"]["labels"]
    spread = [each["labelSelector"] for each in POD["topologySpreadConstraints"]]
    budget = OBJECTS["PodDisruptionBudget"]["spec"]["selector"]
    for selector in (DEPLOYMENT["selector"], budget, *spread):
        assert selector == {"matchLabels": labels}
    assert OBJECTS["Service"]["spec"]["selector"] == labels


def test_workers_are_never_all_away_at_once() -> None:
    assert DEPLOYMENT["replicas"] == 3
    assert OBJECTS["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert DEPLOYMENT["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_kubernetes_asks_at_the_port_where_a_worker_listens(config: Config) -> None:
    assert config.web
    [port] = CONTAINER["ports"]
    assert (port["containerPort"], config.web.listen[0]) == (config.web.listen[1], "0.0.0.0")  # noqa: S104 - compared
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert CONTAINER[probe]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    [served] = OBJECTS["Service"]["spec"]["ports"]
    assert served["targetPort"] == port["name"]


def test_a_start_may_take_as_long_as_under_systemd() -> None:
    limit = seconds(setting("TimeoutStartSec"))
    probe = CONTAINER["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == limit
    assert DEPLOYMENT["progressDeadlineSeconds"] > limit
    assert seconds(WORKER["healthcheck"]["start_period"]) == limit


def test_a_database_that_is_away_makes_workers_unready_and_restarts_none() -> None:
    """Within half a minute, and for half an hour."""
    ready, alive = (CONTAINER[name] for name in ("readinessProbe", "livenessProbe"))
    assert ready["periodSeconds"] * ready["failureThreshold"] <= 30
    assert alive["periodSeconds"] * alive["failureThreshold"] >= 1800


def test_a_worker_has_more_time_to_end_than_it_takes() -> None:
    limits = (seconds(WORKER["stop_grace_period"]), POD["terminationGracePeriodSeconds"])
    assert set(limits) == {seconds(f"{setting('TimeoutStopSec')}s")}
    assert min(limits) > ENDS_WITHIN


def test_config_and_secrets_are_where_the_config_and_the_image_say() -> None:
    volumes = {each.pop("name"): each for each in POD["volumes"]}
    places = {each["mountPath"]: volumes[each["name"]] for each in CONTAINER["volumeMounts"]}
    assert places["/etc/alerter"] == {"configMap": {"name": "alerter"}}
    [folder] = {str(secret.parent) for secret in SECRETS}
    assert places[folder] == {"secret": {"secretName": "alerter", "defaultMode": 0o440}}
    assert set(re.findall(r"--from-file=([\w-]+)", MANIFEST)) == {each.name for each in SECRETS}


def test_the_note_of_who_was_notified_survives_a_restart() -> None:
    """The folder is the image's volume, so that it is writable and each worker's own."""
    folder = setting("VOLUME")
    assert f"RUNTIME_DIRECTORY={folder} " in DOCKERFILE
    [mounted] = [each for each in CONTAINER["volumeMounts"] if each["mountPath"] == folder]
    assert "readOnly" not in mounted
    assert not [each for each in WORKER["tmpfs"] if folder.startswith(each)]


def test_a_worker_has_the_user_and_limits_of_the_image_and_the_unit() -> None:
    user = int(setting("USER"))
    security = POD["securityContext"]
    assert security["runAsNonRoot"]
    assert {security[name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {user}
    assert CONTAINER["image"].endswith(f"/alerter:{__version__}")
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (WORKER["read_only"], WORKER["cap_drop"]) == (True, ["ALL"])
    assert CONTAINER["resources"]["limits"]["memory"] == "512Mi"
    assert (WORKER["mem_limit"], setting("MemoryMax")) == ("512m", "512M")
    assert WORKER["pids_limit"] == int(setting("TasksMax"))
