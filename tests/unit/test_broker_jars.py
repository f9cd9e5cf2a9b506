"""The jars of Kafka and the Java under them: what is listed, checked, and said when it lacks."""

import hashlib
import re
import stat
from pathlib import Path

import pytest

from services.broker import BrokerProblem, BrokerUnavailable, jars
from services.broker.jars import DISTRIBUTION, KAFKA_VERSION, faulty, kafka_jars
from services.broker.local import find_java


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A distribution of one jar whose content is ``good``."""
    folder = tmp_path / "distribution"
    folder.mkdir()
    digest = hashlib.sha256(b"good\n").hexdigest()
    (folder / "jars.sha256").write_text(f"{digest}  one.jar\n")
    monkeypatch.setattr(jars, "DISTRIBUTION", folder)
    return folder


@pytest.fixture
def maven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The place of a Maven that a test writes."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path / "bin" / "mvn"


DELIVER = 'for a; do case $a in -DoutputDirectory=*) echo {} > "${{a#*=}}/one.jar";; esac; done'


def test_the_list_and_the_pom_name_the_same_kafka() -> None:
    listed = dict(
        reversed(line.split("  ")) for line in (DISTRIBUTION / "jars.sha256").read_text().splitlines()
    )
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in listed.values())
    assert f"kafka_2.13-{KAFKA_VERSION}.jar" in listed
    assert f"<version>{KAFKA_VERSION}</version>" in (DISTRIBUTION / "pom.xml").read_text()


def test_no_file_names_an_address_to_download_from() -> None:
    text = (DISTRIBUTION / "pom.xml").read_text()
    assert set(re.findall(r"https?://[^\s\"<]+", text)) == {"http://maven.apache.org/POM/4.0.0"}
    assert "<repositor" not in text


def test_jars_are_fetched_once_and_then_used_without_maven(listed: Path, maven: Path, tmp_path: Path) -> None:
    script(maven, DELIVER.format("good"))
    first = kafka_jars(tmp_path / "cache")
    maven.unlink()
    assert (
        kafka_jars(tmp_path / "cache") == first == [tmp_path / "cache" / f"kafka-{KAFKA_VERSION}" / "one.jar"]
    )
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"kafka-{KAFKA_VERSION}"]


def test_a_damaged_cache_is_fetched_anew(listed: Path, maven: Path, tmp_path: Path) -> None:
    script(maven, DELIVER.format("good"))
    (jar,) = kafka_jars(tmp_path / "cache")
    jar.write_text("damaged")
    (jar,) = kafka_jars(tmp_path / "cache")
    assert jar.read_text() == "good\n"


def test_jars_that_are_not_those_of_the_list_are_never_used(
    listed: Path, maven: Path, tmp_path: Path
) -> None:
    script(maven, DELIVER.format("evil"))
    with pytest.raises(BrokerProblem, match=r"other jars than the project lists.*one\.jar"):
        kafka_jars(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_maven_the_error_names_the_command_that_gets_it(
    listed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerUnavailable, match="apt-get install maven"):
        kafka_jars(tmp_path / "cache")


def test_what_maven_could_not_do_is_told_in_one_line(listed: Path, maven: Path, tmp_path: Path) -> None:
    script(maven, "printf '[ERROR] \\n[\\033[1mERROR\\033[m] no route\\n[ERROR] more\\n'; exit 1")
    with pytest.raises(BrokerUnavailable, match=r"could not fetch Apache Kafka \(no route\)") as problem:
        kafka_jars(tmp_path / "cache")
    assert "\n" not in str(problem.value)


def test_a_cache_that_cannot_be_written_is_named_with_its_setting(
    listed: Path, maven: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(BrokerUnavailable, match="WEEK12_CACHE_DIR"):
        kafka_jars(tmp_path / "cache")


def test_missing_and_changed_jars_are_both_faulty(tmp_path: Path) -> None:
    (tmp_path / "changed.jar").write_bytes(b"x")
    (tmp_path / "fine.jar").write_bytes(b"y")
    digests = {"changed.jar": "0" * 64, "gone.jar": "0" * 64, "fine.jar": hashlib.sha256(b"y").hexdigest()}
    assert faulty(tmp_path, digests) == ["changed.jar", "gone.jar"]


@pytest.mark.parametrize("version", ['openjdk version "17.0.15" 2025-04-15', 'java version "25" 2025-09-16'])
def test_java_17_and_later_are_taken(version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = script(tmp_path / "bin" / "java", f"echo '{version}' >&2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert find_java() == java


@pytest.mark.parametrize(
    ("version", "number"), [('openjdk version "16.0.2"', "16"), ('java version "1.8.0_402"', "8")]
)
def test_an_older_java_is_named_with_the_command_that_gets_another(
    version: str, number: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script(tmp_path / "bin" / "java", f"echo '{version}' >&2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(
        BrokerUnavailable, match=f"is version {number}: apt-get install openjdk-17-jre-headless"
    ):
        find_java()


def test_no_java_is_named_with_the_command_that_gets_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        BrokerUnavailable, match="no java on the PATH: apt-get install openjdk-17-jre-headless"
    ):
        find_java()
