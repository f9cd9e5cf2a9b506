"""The environment becomes one frozen object; what is wrong is told in one line that names the variable."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.runtime.clock import now, today
from services.runtime.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("WEEK12_", "KAFKA_")):
            monkeypatch.delenv(name)


def test_defaults_are_those_of_the_contract() -> None:
    settings = load_settings()
    assert settings.kafka_bootstrap_servers == "127.0.0.1:9092"
    assert settings.kafka_options() == {
        "bootstrap_servers": ["127.0.0.1:9092"],
        "security_protocol": "PLAINTEXT",
    }
    assert settings.host == "127.0.0.1"
    assert (settings.ingest_port, settings.outcomes_port, settings.safety_port) == (8120, 8121, 8122)
    assert settings.partitions == 12
    assert settings.dead_letter_days == 90
    assert settings.protocols == ("fu2025",)
    assert settings.tokens_path == Path("data/tokens.toml")
    assert settings.today is None


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "k1:9092,k2:9092")
    monkeypatch.setenv("WEEK12_TODAY", "2025-06-30")
    monkeypatch.setenv("WEEK12_PROTOCOLS", "fu2025, trial ,fu2025")
    monkeypatch.setenv("WEEK12_DATA_DIR", "/srv/week12")
    settings = load_settings()
    assert settings.kafka_options()["bootstrap_servers"] == ["k1:9092", "k2:9092"]
    assert settings.today == date(2025, 6, 30)
    assert settings.protocols == ("fu2025", "trial")
    assert settings.tokens_path == Path("/srv/week12/tokens.toml")


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEEK12_TODAY", "")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "")
    assert load_settings().today is None
    assert load_settings().kafka_sasl_username is None


def test_what_the_caller_says_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEEK12_INGEST_PORT", "9000")
    assert load_settings(ingest_port=9001).ingest_port == 9001


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load_settings().partitions = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEEK12_INGEST_PORT", "http"),
        ("WEEK12_INGEST_PORT", "0"),
        ("WEEK12_INGEST_PORT", "65536"),
        ("WEEK12_TODAY", "2025-02-30"),
        ("WEEK12_PARTITIONS", "0"),
        ("WEEK12_PROTOCOLS", " , "),
        ("WEEK12_INGEST_RATE", "often"),
        ("WEEK12_INGEST_WINDOW_MIB", "-1"),
        ("WEEK12_INGEST_ACK_SECONDS", "0"),
        ("WEEK12_LOG_LEVEL", "loud"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("KAFKA_SASL_MECHANISM", "MD5"),
        ("KAFKA_SSL_CAFILE", "/nowhere/ca.pem"),
    ],
)
def test_a_wrong_value_is_told_in_one_line_with_its_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    text = str(caught.value)
    assert text.startswith(f"{name}: ")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "KAFKA_SASL_USERNAME"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "u"}, "KAFKA_SASL_PASSWORD"),
        ({"KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "p"}, "KAFKA_SECURITY_PROTOCOL"),
        ({"KAFKA_SSL_CAFILE": __file__}, "KAFKA_SECURITY_PROTOCOL"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_KEYFILE": __file__}, "KAFKA_SSL_CERTFILE"),
    ],
)
def test_half_a_security_setting_is_refused_rather_than_sent_in_the_clear(
    environment: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=named) as caught:
        load_settings()
    assert "\n" not in str(caught.value)


def test_sasl_reaches_both_clients_and_the_password_never_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "week12")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "s3cret-word")
    settings = load_settings()
    for options in (settings.aiokafka_options(), settings.kafka_python_options()):
        assert options["security_protocol"] == "SASL_PLAINTEXT"
        assert options["sasl_mechanism"] == "SCRAM-SHA-512"
        assert options["sasl_plain_username"] == "week12"
        assert options["sasl_plain_password"] == "s3cret-word"
    assert "s3cret-word" not in repr(settings)


def test_a_password_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret-word\n", encoding="utf-8")
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "week12")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(file))
    settings = load_settings()
    assert settings.kafka_options()["sasl_plain_password"] == "s3cret-word"
    assert "s3cret-word" not in f"{settings!r} {settings.model_dump_json()}"
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "other")
    with pytest.raises(SettingsError, match=r"^KAFKA_SASL_PASSWORD_FILE: KAFKA_SASL_PASSWORD is given too"):
        load_settings()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read .No such file"),
        (b"", "password alone"),
        (b"a\nb\n", "password alone"),
        (b"\xff", "not text"),
    ],
)
def test_a_file_that_holds_no_password_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("KAFKA_SSL_PASSWORD_FILE", str(file))
    with pytest.raises(SettingsError, match=f"^KAFKA_SSL_PASSWORD_FILE: .*{reason}"):
        load_settings()


def test_tls_gives_a_context_that_checks_names() -> None:
    context = load_settings(kafka_security_protocol="SSL").kafka_options()["ssl_context"]
    assert context.check_hostname


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("not a certificate")
    settings = load_settings(kafka_security_protocol="SSL", kafka_ssl_cafile=wrong)
    with pytest.raises(SettingsError, match="KAFKA_SSL_CAFILE") as caught:
        settings.kafka_options()
    assert "\n" not in str(caught.value)


def test_today_is_the_settings_day_else_the_day_in_utc() -> None:
    assert today(load_settings(today=date(2025, 6, 30))) == date(2025, 6, 30)
    before = datetime.now(UTC).date()
    assert before <= today(load_settings()) <= datetime.now(UTC).date()
    assert now().utcoffset() is not None
