"""The environment, read once into a frozen, typed object.

Kafka is configured by the usual `KAFKA_*` names, everything else by `WEEK12_*`. Code takes a `Settings`
as an argument; only `load_settings` looks at the environment.
"""

import ssl
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import limits
from pydantic import Field, FilePath, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.runtime.errors import OperatorError

Port = Annotated[int, Field(ge=1, le=65535)]
Positive = Annotated[int, Field(ge=1)]


PASSWORDS = ("KAFKA_SASL_PASSWORD", "KAFKA_SSL_PASSWORD")
"""Each may stand in a file that `…_FILE` names."""


class SettingsError(OperatorError):
    """An environment variable holds something week12 cannot use."""


class Settings(BaseSettings):
    """Everything that can be set from outside; `docs/operations.md` lists the same names."""

    model_config = SettingsConfigDict(
        env_prefix="WEEK12_", env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True
    )

    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", validation_alias="KAFKA_BOOTSTRAP_SERVERS")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", validation_alias="KAFKA_SECURITY_PROTOCOL"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", validation_alias="KAFKA_SASL_MECHANISM"
    )
    kafka_sasl_username: str | None = Field(None, validation_alias="KAFKA_SASL_USERNAME")
    kafka_sasl_password: SecretStr | None = Field(None, validation_alias="KAFKA_SASL_PASSWORD")
    kafka_sasl_password_file: Path | None = Field(None, validation_alias="KAFKA_SASL_PASSWORD_FILE")
    """A file with the password alone, in place of the password: what containers and vaults hand over."""
    kafka_ssl_cafile: FilePath | None = Field(None, validation_alias="KAFKA_SSL_CAFILE")
    kafka_ssl_certfile: FilePath | None = Field(None, validation_alias="KAFKA_SSL_CERTFILE")
    kafka_ssl_keyfile: FilePath | None = Field(None, validation_alias="KAFKA_SSL_KEYFILE")
    kafka_ssl_password: SecretStr | None = Field(None, validation_alias="KAFKA_SSL_PASSWORD")
    kafka_ssl_password_file: Path | None = Field(None, validation_alias="KAFKA_SSL_PASSWORD_FILE")

    data_dir: Path = Path("data")
    tokens_file: Path | None = None
    """Where the hashed access tokens stand; default: `tokens.toml` in `data_dir`. Read `tokens_path`."""
    erasure_key_file: Path | None = None
    """Where the key of erasures stands; default: `erasure.key` in `data_dir`. Read `erasure_key_path`."""
    today: date | None = None
    protocols: Annotated[tuple[str, ...], NoDecode] = ("fu2025",)
    """Protocols to evaluate, by the stem of their file; comma-separated in the environment."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    host: str = "127.0.0.1"
    ingest_port: Port = 8120
    outcomes_port: Port = 8121
    safety_port: Port = 8122
    ingest_url: str | None = None
    """Where others find ingest; default: its port at `host`. So too `outcomes_url` and `safety_url`."""
    outcomes_url: str | None = None
    safety_url: str | None = None

    partitions: Positive = 12
    replication_factor: int = Field(-1, ge=-1)
    """Copies of each new topic; -1 leaves it to the broker's default."""
    min_insync_replicas: Positive | None = None
    """Copies that must have a record before it is acknowledged; without it 2 of 3, else the broker's default."""
    dead_letter_days: Positive = 90

    batch_max_records: Positive = 5_000
    linger_ms: Annotated[int, Field(ge=0)] = 50
    """How long a processor gathers records for one transaction."""
    fetch_max_wait_ms: Positive = 500
    """How long a broker may hold an empty fetch; short (20) on the embedded one, which sleeps it off."""
    session_timeout_ms: Positive = 45_000
    """Kafka group session; short (2 000 to 6 000) only on the embedded broker: its joins take half of it."""

    ingest_rate: str = "60000/minute"
    """Requests a token may send, as `<number>/<second|minute|hour>`."""
    ingest_window_mib: Positive = 16
    """MiB of requests being worked on at once; beyond it callers wait, then get 503."""
    ingest_ack_seconds: Annotated[float, Field(gt=0)] = 10.0
    """How long Kafka may take to acknowledge a record before ingest answers 503."""

    query_seconds: Positive = 30
    """How long a query over HTTP may run."""
    query_mib: Positive = 32
    """MiB that its answer may have."""

    @property
    def tokens_path(self) -> Path:
        return self.tokens_file or self.data_dir / "tokens.toml"

    @property
    def erasure_key_path(self) -> Path:
        return self.erasure_key_file or self.data_dir / "erasure.key"

    @model_validator(mode="before")
    @classmethod
    def _read_passwords(cls, values: Any) -> Any:
        """Take each password out of its file, so that the rest need not know where it came from."""
        given = dict(values)
        for name in PASSWORDS:
            file = given.get(f"{name}_FILE") or given.get(f"{name}_FILE".lower())
            if file is None:
                continue
            if given.get(name) is not None or given.get(name.lower()) is not None:
                raise ValueError(f"{name}_FILE: {name} is given too; unset one of them")
            given[name] = _secret(f"{name}_FILE", Path(file))
        return given

    @field_validator("kafka_security_protocol", "kafka_sasl_mechanism", "log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("protocols", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))

    @field_validator("protocols")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one protocol, for example fu2025")
        return value

    @field_validator("ingest_rate")
    @classmethod
    def _rate(cls, value: str) -> str:
        try:
            limits.parse(value)
        except ValueError:
            raise ValueError("write it as a number per time, for example 600/minute") from None
        return value

    @model_validator(mode="after")
    def _kafka_security_is_whole(self) -> Self:
        protocol = self.kafka_security_protocol
        has_user, has_password = self.kafka_sasl_username is not None, self.kafka_sasl_password is not None
        if protocol.startswith("SASL") and not (has_user and has_password):
            raise ValueError(f"KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD: {protocol} needs both; set them")
        if not protocol.startswith("SASL") and (has_user or has_password):
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL: is {protocol}, but a SASL user or password is given; "
                "set it to SASL_SSL, or unset those"
            )
        if not protocol.endswith("SSL") and (self.kafka_ssl_cafile or self.kafka_ssl_certfile):
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL: is {protocol}, but a TLS file is given; "
                "set it to SSL or SASL_SSL, or unset the file"
            )
        if self.kafka_ssl_keyfile and not self.kafka_ssl_certfile:
            raise ValueError("KAFKA_SSL_CERTFILE: missing, although KAFKA_SSL_KEYFILE is given; set both")
        return self

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context of the Kafka clients, or None on a plain connection.

        Raises SettingsError where a certificate or key cannot be loaded.
        """
        if not self.kafka_security_protocol.endswith("SSL"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.kafka_ssl_cafile)
            if self.kafka_ssl_certfile:
                password = self.kafka_ssl_password
                context.load_cert_chain(
                    self.kafka_ssl_certfile,
                    self.kafka_ssl_keyfile,
                    # An empty password fails at once; None would ask on the terminal.
                    password=password.get_secret_value() if password else "",
                )
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or error.strerror or "unreadable"
            raise SettingsError(
                "KAFKA_SSL_CAFILE, KAFKA_SSL_CERTFILE or KAFKA_SSL_KEYFILE cannot be used "
                f"({reason}): give PEM files, and KAFKA_SSL_PASSWORD where the key has one"
            ) from None
        return context

    def kafka_options(self) -> dict[str, Any]:
        """Connection arguments (servers, TLS, SASL) that aiokafka and kafka-python have in common."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.kafka_bootstrap_servers.split(","),
            "security_protocol": self.kafka_security_protocol,
        }
        context = self.ssl_context()
        if context:
            options["ssl_context"] = context
        if self.kafka_sasl_username is not None and self.kafka_sasl_password is not None:
            options["sasl_mechanism"] = self.kafka_sasl_mechanism
            options["sasl_plain_username"] = self.kafka_sasl_username
            options["sasl_plain_password"] = self.kafka_sasl_password.get_secret_value()
        return options

    def aiokafka_options(self) -> dict[str, Any]:
        """Connection arguments for any aiokafka client."""
        return self.kafka_options()

    def kafka_python_options(self) -> dict[str, Any]:
        """Connection arguments for any kafka-python client."""
        return self.kafka_options()


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; `overrides` (by field name, such as command-line options) win over it.

    Raises SettingsError: one line that names the variable and says what is wrong, never its value.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None


def _secret(variable: str, path: Path) -> str:
    """The first line of a file, which must be all that it holds."""
    try:
        secret = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ValueError(f"{variable}: the file cannot be read ({reason})") from None
    if not secret or "\n" in secret:
        raise ValueError(f"{variable}: the file must hold the password alone, on one line")
    return secret


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    name = str(first["loc"][0])
    variable = name if name.isupper() else f"WEEK12_{name.upper()}"
    return f"{variable}: {message[0].lower()}{message[1:]}"
