"""Docker and testcontainers, both optional: what is missing is told in one line with the command that gets it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from services.broker.problems import BrokerProblem, BrokerUnavailable

if TYPE_CHECKING:
    from docker import DockerClient
    from testcontainers.core.container import DockerContainer

_NO_PACKAGE = "a broker in a container needs the package testcontainers: pip install 'week12[containers]'"
_NO_DOCKER = (
    "a broker in a container needs Docker, and no daemon answers: install it (apt-get install docker.io), "
    "start it, or choose another broker (--broker local)"
)
_A_PULL = "/images/create"
"""Where in Docker's API an image is pulled; it stands in the error of one that failed."""


def image_problem(image: str) -> str | None:
    """Why containers of this image cannot be run here, in one line with what helps; None where they can.

    An image that is not here yet is pulled.
    """
    try:
        with docker_client(image) as docker:
            from docker.errors import ImageNotFound

            try:
                docker.images.get(image)
            except ImageNotFound:
                docker.images.pull(image)
    except BrokerProblem as problem:
        return str(problem)
    return None


def container_class() -> "type[DockerContainer]":
    """The library's container, without its helper that removes what was left: our containers end with us.

    Raises BrokerUnavailable without the package.
    """
    try:
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer
    except ImportError:
        raise BrokerUnavailable(_NO_PACKAGE) from None
    testcontainers_config.ryuk_disabled = True
    return DockerContainer


@contextmanager
def docker_client(image: str = "") -> "Iterator[DockerClient]":
    """A client of the Docker daemon, to do something with an image.

    Raises BrokerUnavailable without package, daemon or image.
    """
    with telling(image):
        import docker

        client = docker.from_env()
        try:
            yield client
        finally:
            client.close()


def remove_volume(docker: "DockerClient", name: str) -> None:
    """Delete a volume with all in it; nothing where there is none."""
    from docker.errors import NotFound

    with suppress(NotFound):
        docker.volumes.get(name).remove(force=True)


@contextmanager
def telling(image: str = "") -> Iterator[None]:
    """Turns Docker's errors into one line that says what to do: BrokerUnavailable or BrokerProblem."""
    try:
        from docker.errors import APIError, DockerException, NotFound
    except ImportError:
        raise BrokerUnavailable(_NO_PACKAGE) from None
    try:
        yield
    except APIError as error:
        said = (str(error).splitlines() or [""])[0][:300]
        if isinstance(error, NotFound) or _A_PULL in said:
            raise BrokerUnavailable(_no_image(image)) from None
        raise BrokerProblem(f"Docker refused the container of {image}: {said}") from None
    except DockerException:
        raise BrokerUnavailable(_NO_DOCKER) from None


def _no_image(image: str) -> str:
    return (
        f"the image {image} is neither here nor can it be pulled: docker pull {image}, "
        "or name one that is here in WEEK12_KAFKA_IMAGE"
    )
