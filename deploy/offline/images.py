"""The base images: what each is made of, and making it."""

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.problems import DeployProblem
from deploy.steps import run, step
from services.broker.jars import DISTRIBUTION, KAFKA_VERSION, default_cache_dir, kafka_jars

SUITE = "bookworm"
"""Debian 12: it has Python 3.11 and Java 17."""

_HERE = Path(__file__).parent
_LABEL = "org.week12.made-of"
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_ROOT = (
    "--quiet",
    "--variant=essential",
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    "--include=usr-is-merged",  # else a package that merges it afterwards, which needs all of Perl
    *(f"--dpkgopt=path-exclude=/usr/share/{unread}/*" for unread in ("doc", "info", "locale", "man/*")),
    '--essential-hook=mkdir -p "$1"/usr/share/man/man1',  # Java's packages cannot be set up without it
    # What came from this machine stays on it: its mirror, its name and its resolver.
    '--customize-hook=rm -rf "$1"/etc/apt/sources.list* "$1"/etc/hostname "$1"/etc/resolv.conf',
)


@dataclass(frozen=True)
class Image:
    """A root file system of Debian packages, and what the Dockerfile of ``folder`` adds to it."""

    tag: str
    folder: Path
    packages: tuple[str, ...]
    has_kafka: bool = False  # Kafka's jars, each checked against the project's list

    def lay_out(self, context: Path) -> None:
        """Fill the folder that Docker builds from."""
        shutil.copytree(self.folder, context, dirs_exist_ok=True)
        if self.has_kafka:
            (context / "libs").mkdir()
            for jar in kafka_jars(default_cache_dir()):
                shutil.copy2(jar, context / "libs")

    def made_of(self) -> str:
        """A digest of all that goes in, except which versions of its packages Debian has today."""
        digest = hashlib.sha256(repr((SUITE, self.packages, _ROOT)).encode())
        parts = sorted(path for path in self.folder.rglob("*") if path.is_file())
        for part in [*parts, DISTRIBUTION / "jars.sha256"] if self.has_kafka else parts:
            digest.update(part.read_bytes())
        return digest.hexdigest()[:16]


IMAGES = {
    "python": Image(
        tag=f"week12/python:3.11-{SUITE}",
        folder=_HERE / "python",
        packages=("python3", "python3-venv", "ca-certificates", "tzdata", "binutils", "libjemalloc2"),
    ),
    "prometheus": Image(
        tag=f"week12/prometheus:{SUITE}",
        folder=_HERE / "prometheus",
        packages=("prometheus", "ca-certificates"),
    ),
    "kafka": Image(
        tag=f"apache/kafka:{KAFKA_VERSION}",
        folder=_HERE / "kafka",
        packages=("openjdk-17-jre-headless", "ca-certificates"),
        has_kafka=True,
    ),
}


def build(name: str, *, again: bool = False) -> None:
    """Make and tag an image; nothing where it is there, made of the same parts or had from elsewhere.

    Raises DeployProblem where Debian's packages cannot be fetched, BrokerProblem where Kafka's jars cannot.
    """
    image = IMAGES[name]
    found, made_of = _label(image.tag), image.made_of()
    if found == "":
        print(f"           {image.tag} is here and was not made by week12: it stays", flush=True)
    elif again or found != made_of:
        with step(f"made {image.tag}"), tempfile.TemporaryDirectory(prefix="week12-image-") as folder:
            context = Path(folder)
            image.lay_out(context)
            base = f"week12/root-of-{name}:{SUITE}"
            _import_root(image.packages, base)
            labels = ("--label", f"{_LABEL}={made_of}", "--tag", image.tag)
            run("docker", "build", "--quiet", "--force-rm", "--build-arg", f"BASE={base}", *labels, folder)
            run("docker", "rmi", base)


def _import_root(packages: tuple[str, ...], tag: str) -> None:
    """A file system with these packages and Debian's essential ones, as an image."""
    sources = next(
        (str(path) for path in _SOURCES if path.exists() and SUITE in path.read_text("utf-8")), None
    )
    if sources is None:
        raise DeployProblem(f"{' and '.join(map(str, _SOURCES))} name no {SUITE}: run it on a Debian 12")
    with tempfile.TemporaryDirectory(prefix="week12-root-") as folder:
        archive = f"{folder}/root.tar"
        run("mmdebstrap", *_ROOT, f"--include={','.join(packages)}", SUITE, archive, sources)
        run("docker", "import", archive, tag)


def _label(tag: str) -> str | None:
    """What our label on this image says: empty where it has none, None where there is no such image."""
    asked = subprocess.run(
        ["docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{_LABEL}"}}}}', tag],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() if asked.returncode == 0 else None
