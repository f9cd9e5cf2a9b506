"""The local broker: Apache Kafka itself, one KRaft node on this machine, that keeps its data between runs."""

import base64
import fcntl
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from services.broker.jars import DISTRIBUTION, default_cache_dir, kafka_jars
from services.broker.managed import HOST
from services.broker.one_node import ONE_NODE
from services.broker.problems import BrokerProblem, BrokerUnavailable
from services.broker.process import ChildBroker, free_port

_JAVA_AT_LEAST = 17
ROOM_BYTES = 16 * 1024 * 1024
_GET_JAVA = "apt-get install openjdk-17-jre-headless (or any later Java), or set JAVA_HOME"


class LocalKafka(ChildBroker):
    """Apache Kafka with its data in ``data_dir``: formatted once, the same cluster from then on.

    What it acknowledged survives the end of its process, however it ends (kill -9 too); one node without
    forced writes does not promise that for a loss of power. ``properties`` replaces server settings.
    """

    name: ClassVar[str] = "local"
    keeps_data: ClassVar[bool] = True
    start_within_s: ClassVar[float] = 90
    stop_within_s: ClassVar[float] = 10
    heap_mib: ClassVar[int] = 512

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        cache_dir: Path | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(data_dir, port)
        self._cache_dir = cache_dir or default_cache_dir()
        self._properties = dict(properties or {})

    def _prepare(self) -> list[str]:
        self._refuse_folder_in_use()
        self._refuse_full_disk()
        java = [str(find_java()), *self._java_options()]
        settings = self.data_dir / "server.properties"
        settings.write_text(
            "".join(f"{key}={value}\n" for key, value in self._server_properties().items()), encoding="utf-8"
        )
        if not (self._logs / "meta.properties").exists():
            self._format(
                [*java, "kafka.tools.StorageTool", "format", "-c", str(settings), *self._format_options()]
            )
        return [*java, "kafka.Kafka", str(settings)]

    @property
    def _logs(self) -> Path:
        return self.data_dir / "logs"

    def _refuse_folder_in_use(self) -> None:
        """Kafka locks its folder, but says so only after we would have replaced the other one's files."""
        try:
            with (self._logs / ".lock").open("r+b") as lock:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return
        except OSError as error:
            raise BrokerProblem(
                f"another Kafka uses the folder {self.data_dir}: stop that one or name another folder"
            ) from error

    def _format_options(self) -> list[str]:
        return ["--cluster-id", new_cluster_id()]

    def _refuse_full_disk(self) -> None:
        """Kafka would end without a word: there is no room for its log either."""
        if shutil.disk_usage(self.data_dir).free < ROOM_BYTES:
            raise BrokerProblem(
                f"the disk of {self.data_dir} is full: make room on it, and Kafka goes on where it was"
            )

    def _server_properties(self) -> dict[str, str]:
        controller = f"{HOST}:{free_port()}"
        return {
            **ONE_NODE,
            "listeners": f"PLAINTEXT://{self.bootstrap_servers},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self._logs),
            **self._properties,
        }

    def _java_options(self) -> list[str]:
        scratch = self.data_dir / "tmp"  # native libraries are unpacked here, and left behind by a kill
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        return [
            f"-Xmx{self.heap_mib}m",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:-UsePerfData",
            f"-Djava.io.tmpdir={scratch}",
            f"-Dlog4j2.configurationFile={DISTRIBUTION / 'log4j2.properties'}",
            "-cp",
            os.pathsep.join(str(jar) for jar in kafka_jars(self._cache_dir)),
        ]

    def _format(self, command: list[str]) -> None:
        done = subprocess.run(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        if done.returncode != 0:
            self.log.write_bytes(done.stdout)
            raise BrokerProblem(
                f"Kafka's folder {self._logs} could not be formatted{self._last_error()}; see {self.log}"
            )


def find_java() -> Path:
    """The ``java`` of JAVA_HOME, else of the PATH.

    Raises BrokerUnavailable where there is none, or an older one than 17.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    if found is None:
        where = f"in JAVA_HOME ({home})" if home else "on the PATH"
        raise BrokerUnavailable(
            f"Apache Kafka needs Java {_JAVA_AT_LEAST}, and there is no java {where}: {_GET_JAVA}"
        )
    version = _java_version(found)
    if version < _JAVA_AT_LEAST:
        raise BrokerUnavailable(
            f"Apache Kafka needs Java {_JAVA_AT_LEAST}, and {found} is version {version}: {_GET_JAVA}"
        )
    return Path(found).absolute()


def _java_version(java: str) -> int:
    """The feature number: 17 for ``17.0.15``, and 8 for the old ``1.8.0``; 0 where it cannot be read."""
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603
    match = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(match[1]) if match else 0


def new_cluster_id() -> str:
    """A random id as Kafka writes them: 22 characters, the first no dash, which would read as an option."""
    while True:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not cluster_id.startswith("-"):
            return cluster_id
