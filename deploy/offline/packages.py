"""The Python packages of the image, fetched by this machine so that the build of the image asks nobody."""

import hashlib
import shutil
import sys
from pathlib import Path

from deploy.steps import run, step

_ROOT = Path(__file__).parents[2]
WHEELS = _ROOT / "deploy/wheels"
"""Where deploy/Dockerfile looks for them."""


def fetch() -> None:
    """All of requirements.lock into ``WHEELS``, each with its SHA-256; nothing where they are there.

    By this machine's own settings of pip, none of which gets into an image that way. Raises DeployProblem.
    """
    lock = _ROOT / "requirements.lock"
    digest, stamp = hashlib.sha256(lock.read_bytes()).hexdigest(), WHEELS / "made-of"
    if stamp.exists() and stamp.read_text("ascii") == digest:
        return
    with step("fetched the Python packages"):
        shutil.rmtree(WHEELS, ignore_errors=True)
        WHEELS.mkdir()
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet")
        which = ("--only-binary=:all:", "--python-version=3.11", "--no-deps", "--require-hashes")
        run(*pip, *which, f"--requirement={lock}", f"--dest={WHEELS}")
        stamp.write_text(digest, "ascii")
