"""The composition keeps what docs/containers.md promises of it, as far as a file shows it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.offline.images import IMAGES
from services.broker.jars import KAFKA_VERSION
from services.cli import SUMMARIES
from services.runtime.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = {name: service for name, service in SERVICES.items() if service["restart"] != "no"}
OWN = {name: service for name, service in SERVICES.items() if service["image"].startswith("${WEEK12_IMAGE:-")}
ADDED = {"WEEK12_TOKEN", "KAFKA_BOOTSTRAP_SERVERS"}


def test_the_composition_is_the_one_of_the_registry() -> None:
    assert set(LASTING) == {"kafka", "ingest", "outcomes", "safety", "prometheus", "grafana"}
    assert set(SERVICES) - set(LASTING) == {"setup", "week12"}
    assert {service["restart"] for service in LASTING.values()} == {"unless-stopped"}
    assert SERVICES["week12"]["profiles"] == ["tools"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    user, group = service["user"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert (
        not {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode", "userns_mode"} & service.keys()
    )


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_limits(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[0-9]+[mg]", service["mem_limit"])
    assert 0 < service["cpus"] <= 2  # Docker refuses more than the machine has
    assert service["pids_limit"] > 0
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@pytest.mark.parametrize("name", LASTING)
def test_every_service_says_whether_it_is_healthy(name: str) -> None:
    check = LASTING[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= check.keys()


def test_services_start_when_what_they_need_is_healthy() -> None:
    for name in ("ingest", "outcomes", "safety"):
        assert SERVICES[name]["depends_on"] == {
            "kafka": {"condition": "service_healthy"},
            "setup": {"condition": "service_completed_successfully"},
        }
    assert SERVICES["grafana"]["depends_on"] == {"prometheus": {"condition": "service_healthy"}}


def test_ports_are_published_on_the_loopback_address_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 5
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{WEEK12_[A-Z]+_PORT:-[0-9]+\}:[0-9]+", port) for port in ports)
    assert "ports" not in SERVICES["kafka"]


def test_kafka_is_on_a_network_without_a_way_out() -> None:
    assert SERVICES["kafka"]["networks"] == ["events"]
    assert COMPOSE["networks"]["events"] == {"internal": True}
    on_it = {name for name, service in SERVICES.items() if "events" in service["networks"]}
    assert on_it == {"kafka", *OWN}


def test_services_take_settings_that_exist() -> None:
    known = {
        str(field.validation_alias or f"WEEK12_{name.upper()}")
        for name, field in Settings.model_fields.items()
    }
    for name, service in OWN.items():
        assert service["environment"].keys() <= known | ADDED, name
        assert service["environment"]["WEEK12_HOST"] == "0.0.0.0"
        for variable, port in (("INGEST", "ingest"), ("OUTCOMES", "outcomes"), ("SAFETY", "safety")):
            default = Settings.model_fields[f"{port}_port"].default
            assert service["environment"][f"WEEK12_{variable}_URL"] == f"http://{port}:{default}"


def test_services_run_commands_that_exist() -> None:
    assert {service["command"][0] for name, service in OWN.items() if name != "week12"} <= SUMMARIES.keys()


def test_secrets_are_read_only_where_a_port_is_open() -> None:
    for name in ("ingest", "outcomes", "safety"):
        assert "secrets:/etc/week12:ro" in SERVICES[name]["volumes"]
    assert not any("secret" in volume for volume in SERVICES["kafka"]["volumes"])


def test_no_secret_stands_in_the_file() -> None:
    names = {name for service in SERVICES.values() for name in service.get("environment", {})}
    assert {name for name in names if re.search("TOKEN$|PASSWORD|SECRET|_KEY$", name)} == {"WEEK12_TOKEN"}
    assert SERVICES["week12"]["environment"]["WEEK12_TOKEN"] == "${WEEK12_TOKEN:-}"


def test_what_is_mounted_from_here_is_there_and_read_only() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source, _, rest = volume.partition(":")
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                assert rest.endswith(":ro"), volume
            else:
                assert source in COMPOSE["volumes"], volume


def test_prometheus_scrapes_in_containers_what_it_scrapes_beside_them() -> None:
    def read(path: str) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
        return found

    here, there = read("deploy/prometheus.yml"), read("deploy/compose/prometheus.yml")
    for beside, within in zip(
        here["scrape_configs"][0]["static_configs"], there["scrape_configs"][0]["static_configs"], strict=True
    ):
        name, port = beside["labels"]["service_name"], beside["targets"][0].partition(":")[2]
        assert within["targets"] == [f"{name}:{port}"]
        beside["targets"] = within["targets"]
    assert here == there


def test_images_made_here_are_those_that_the_composition_is_told() -> None:
    told = dict(
        line.split("=", 1)
        for line in (ROOT / "deploy/offline/compose.env").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    assert told == {f"WEEK12_{name.upper()}_IMAGE": image.tag for name, image in IMAGES.items()}
    assert SERVICES["kafka"]["image"] == f"${{WEEK12_KAFKA_IMAGE:-apache/kafka:{KAFKA_VERSION}}}"


def test_images_are_pinned() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(
        r"^ARG BASE=(.+)$", (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    for image in images:
        assert re.search(r":[^:$]*[0-9][^:}]*\}?$", image), image
        assert "latest" not in image


def test_the_image_is_made_of_what_is_named_alone() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    copied = re.findall(
        r"^COPY (?!--from)(.+) \S+$", (ROOT / "deploy/Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    sources = {source.replace("[s]", "s") for line in copied for source in line.split()}
    assert sources == {rule.removeprefix("!") for rule in rules if rule.startswith("!")}


def test_it_runs_without_root() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001:10001"]
    assert {service["user"] for service in OWN.values()} == {"10001:10001"}
