"""The container broker: Apache Kafka's official image in Docker, one node that keeps its data in a volume."""

import hashlib
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from services.broker.docker import container_class, docker_client, remove_volume, telling
from services.broker.jars import KAFKA_VERSION
from services.broker.managed import HOST, OnLoopback
from services.broker.one_node import ONE_NODE
from services.broker.problems import BrokerProblem
from services.broker.process import answers, free_port, is_free

if TYPE_CHECKING:
    from docker import DockerClient
    from testcontainers.core.container import DockerContainer

_DATA = "/var/lib/kafka/data"
OWNER = "org.week12.owner"
"""The label with the process id of whoever started a container."""
_JAVA_OPTIONS = ("JAVA_TOOL_OPTIONS",)
"""Variables of the shell that reach any Java, and so the one in the container too."""
_START_WITHIN_S = 120
_STOP_WITHIN_S = 10
_POLL_S = 0.1


def default_image() -> str:
    """The image: the setting ``WEEK12_KAFKA_IMAGE``, else the official one of the version used everywhere."""
    return os.environ.get("WEEK12_KAFKA_IMAGE") or f"apache/kafka:{KAFKA_VERSION}"


class ContainerKafka(OnLoopback):
    """Apache Kafka in Docker, on a loopback port of this machine.

    Its container and its volume are named after ``data_dir``, so that the same folder finds the same data;
    the folder itself holds the log alone. Any image that takes the official one's ``KAFKA_*`` variables
    will do. ``properties`` replaces server settings. Raises nothing before ``start``.
    """

    name: ClassVar[str] = "container"
    keeps_data: ClassVar[bool] = True

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        image: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port if port is not None else free_port()
        self.image = image or default_image()
        self.docker_name = f"week12-kafka-{hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:12]}"
        self._properties = dict(properties or {})
        self._container: DockerContainer | None = None

    @property
    def pid(self) -> int | None:
        """The id, as the Docker daemon sees it, of the container's first process; None while it does not run."""
        if self._container is None:
            return None
        docker = self._container.get_wrapped_container()
        docker.reload()
        return int(docker.attrs["State"]["Pid"]) or None

    @property
    def log(self) -> Path:
        """The file with what it has to say, as of this moment."""
        path = self.data_dir / f"{self.name}-broker.log"
        if self._container is not None:
            path.write_bytes(self._container.get_wrapped_container().logs())
        return path

    def start(self) -> None:
        """Start it and return once it answers a client; does nothing where it runs already.

        Raises BrokerUnavailable where testcontainers, Docker or the image is missing, BrokerProblem where it
        does not come up.
        """
        if self.pid is not None:
            return
        if not is_free(self.port):
            raise BrokerProblem(
                f"port {self.port} of {HOST} is taken: choose another one or stop what holds it"
            )
        self._make_data_dir()
        with telling(self.image):
            if self._container is None:
                self._container = self._created()
            else:
                self._container.get_wrapped_container().start()
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it, politely first, and remove the container; the volume stays. Nothing where it does not run."""
        if self._container is None:
            return
        with suppress(BrokerProblem), telling(self.image):
            self._container.get_wrapped_container().stop(timeout=_STOP_WITHIN_S)
            _ = self.log
        self._remove()

    def kill(self) -> None:
        """End it at once, as a crash would, and return when it is gone; does nothing where it does not run."""
        if self._container is None or self.pid is None:
            return
        docker = self._container.get_wrapped_container()
        docker.kill()
        docker.wait()

    def discard(self) -> None:
        """Stop it and delete all it kept: the volume and the log."""
        self.stop()
        with suppress(BrokerProblem), docker_client() as docker:
            remove_volume(docker, self.docker_name)
        with suppress(FileNotFoundError):
            self.log.unlink()

    def _created(self) -> "DockerContainer":
        """A new container, started; nothing of it is left where that fails."""
        container = self._create()
        try:
            return container.start()
        except BaseException:
            container.stop()
            raise

    def _create(self) -> "DockerContainer":
        container_type = container_class()
        with docker_client() as docker:
            self._take_over(docker)
        container = container_type(self.image, name=self.docker_name, env=self._variables())
        container.with_kwargs(
            labels={OWNER: str(os.getpid())},
            network="bridge",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
        )
        container.with_volume_mapping(self.docker_name, _DATA, "rw")
        # Published on the loopback address alone; the library's own method would take every address.
        container.ports[f"{self.port}/tcp"] = (HOST, self.port)  # type: ignore[assignment]
        return container

    def _take_over(self, docker: "DockerClient") -> None:
        """Remove a container that a killed owner left; refuse where its owner is still at work."""
        for left in docker.containers.list(all=True, filters={"name": f"^{self.docker_name}$"}):
            owner = left.labels.get(OWNER, "")
            if left.status == "running" and owner.isdecimal() and _exists(int(owner)):
                raise BrokerProblem(
                    f"another Kafka uses the folder {self.data_dir}: stop that one or name another folder"
                )
            left.remove(force=True, v=True)

    def _variables(self) -> dict[str, str]:
        """Server settings as the image takes them. Inside and outside the port is the same, as the address."""
        properties = {
            **ONE_NODE,
            "listeners": f"PLAINTEXT://0.0.0.0:{self.port},CONTROLLER://{HOST}:{_controller_port(self.port)}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.quorum.voters": f"1@{HOST}:{_controller_port(self.port)}",
            "log.dirs": _DATA,
            **self._properties,
        }
        named = {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in properties.items()}
        java = {name: os.environ[name] for name in _JAVA_OPTIONS if name in os.environ}
        return {**named, **java, "KAFKA_HEAP_OPTS": "-Xmx512m"}

    def _make_data_dir(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BrokerProblem(
                f"the broker's folder {self.data_dir} cannot be made ({error.strerror}): name another"
            ) from error

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_WITHIN_S
        while not answers(self.bootstrap_servers):
            if self.pid is None:
                raise BrokerProblem(f"the container of {self.image} ended at once; see {self.log}")
            if time.monotonic() > deadline:
                raise BrokerProblem(
                    f"the container of {self.image} did not answer within {_START_WITHIN_S} s; see {self.log}"
                )
            time.sleep(_POLL_S)

    def _remove(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            with suppress(BrokerProblem), telling(self.image):
                container.stop()


def _controller_port(port: int) -> int:
    return 9093 if port != 9093 else 9094


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
