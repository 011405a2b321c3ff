"""As many alerts through Alertmanager, where it is installed, which keeps nothing on the disk."""

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.figures import Figure
from benchmarks.outbox import deliver
from benchmarks.processes import Beside, Cost, Serving, alone, beside, cpu_seconds, serving
from benchmarks.reviews import review_json
from benchmarks.servers.slack import FastSlack
from benchmarks.servers.smtp import FastSmtp
from benchmarks.servers.wix import FastWix
from benchmarks.world import World

# Debian's package `prometheus-alertmanager`.
_PROGRAM = "prometheus-alertmanager"
_AT_ONCE = 50
_PATIENCE = 60.0
_CONFIG = """
route: {receiver: one, group_by: ["..."], group_wait: 0s, group_interval: 1s, repeat_interval: 4h}
receivers:
  - name: one
"""
_SLACK = """
    slack_configs:
      - api_url: "http://127.0.0.1:%d/"
        channel: "#reviews"
        send_resolved: false
        title: "{{ .CommonLabels.alertname }}"
        text: "{{ .CommonAnnotations.body }}"
"""
_MAIL = """
    email_configs:
      - {to: owner@example.com, from: alerts@example.com, hello: localhost, require_tls: false,
         smarthost: "127.0.0.1:%d", send_resolved: false}
"""


def measure(*, quick: bool) -> list[Figure]:
    """Measure the CPU time of an alert to Slack and by email, with that of Alertmanager."""
    if not shutil.which(_PROGRAM):
        print(f"alertmanager: left out, {_PROGRAM} is not installed")
        return []
    number, runs = (200, 3) if quick else (1000, 5)
    with serving(FastWix) as wix, serving(FastSlack) as slack, serving(FastSmtp) as smtp:
        to_slack = beside(
            runs,
            lambda: alone(deliver, World(wix.url, slack.url), number),
            lambda: _alertmanager(_SLACK % slack.port, slack, number),
        )
        by_mail = beside(
            runs,
            lambda: alone(deliver, World(wix.url, None, smtp.port), number),
            lambda: _alertmanager(_MAIL % smtp.port, smtp, number),
        )
    return [_figure("to Slack", to_slack, number, 3), _figure("by email", by_mail, number, 4)]


def _figure(medium: str, both: Beside, number: int, goal: float) -> Figure:
    ours, theirs = both.cpu_ms(number)
    detail = f"{ours:.2f} ms, Alertmanager {theirs:.2f} ms, which keeps nothing on the disk"
    row = f"deliver {medium}"
    return Figure(row, "CPU an alert, of Alertmanager", both.cpu, "≤", goal, "×", detail)


def _alertmanager(receiver: str, service: Serving, number: int) -> Cost:
    """Have Alertmanager notify of alerts, each by itself, and return its cost."""
    with _running(_CONFIG + receiver) as (pid, url):
        before = service.ask("arrivals")
        began, cpu = time.monotonic(), cpu_seconds(pid)
        for first in range(0, number, _AT_ONCE):
            last = min(first + _AT_ONCE, number)
            _post(url, range(first, last))
            _wait(lambda expected=before + last: service.ask("arrivals") >= expected)
        return Cost(time.monotonic() - began, cpu_seconds(pid) - cpu, 0.0)


def _post(url: str, numbers: range) -> None:
    """Raise alerts with the words of these reviews."""
    contents = [json.loads(review_json(number))["content"] for number in numbers]
    alerts = [
        {"labels": {"alertname": each["title"]}, "annotations": {"body": each["body"]}}
        for each in contents
    ]
    httpx.post(f"{url}/api/v2/alerts", json=alerts).raise_for_status()


@contextmanager
def _running(config: str) -> Iterator[tuple[int, str]]:
    """Run Alertmanager on loopback, without its cluster, and yield its pid and address."""
    address = f"127.0.0.1:{_free_port()}"
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "config.yml"
        path.write_text(config, "utf-8")
        process = subprocess.Popen(
            [
                _PROGRAM,
                f"--config.file={path}",
                f"--storage.path={folder}",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
                "--log.level=error",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait(lambda: _is_ready(f"http://{address}/-/ready"))
            yield process.pid, f"http://{address}"
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


def _wait(until: Callable[[], bool]) -> None:
    ends = time.monotonic() + _PATIENCE
    while not until():
        if time.monotonic() > ends:
            raise RuntimeError(f"{_PROGRAM} did not finish")
        time.sleep(0.002)
