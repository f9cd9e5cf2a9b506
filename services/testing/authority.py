"""A certificate authority for one test: keys and certificates made by openssl in a folder, good for two days."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


class Authority:
    """Signs certificates for servers of the loopback address; nothing of it is worth keeping."""

    def __init__(self, folder: Path) -> None:
        """Make the authority's own key and certificate; raises AssertionError where openssl cannot."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        _openssl(
            *("req", "-x509", *_NEW_KEY, "-subj", "/CN=week12 test authority"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-keyout", str(self._key), "-out", str(self.certificate)),
        )

    def issue(self, name: str) -> Path:
        """A PEM file with a new key and its certificate for 127.0.0.1, for servers and clients alike."""
        key, certificate, both = (self._folder / f"{name}.{kind}" for kind in ("key", "crt", "pem"))
        _openssl(
            *("req", "-x509", *_NEW_KEY, "-subj", f"/CN={name}"),
            *("-CA", str(self.certificate), "-CAkey", str(self._key)),
            *("-addext", "basicConstraints=critical,CA:false", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-addext", "extendedKeyUsage=serverAuth,clientAuth"),
            *("-keyout", str(key), "-out", str(certificate)),
        )
        both.touch(0o600)
        both.write_bytes(key.read_bytes() + certificate.read_bytes())
        return both


def _openssl(*arguments: str) -> None:
    command: Sequence[str] = ["openssl", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, f"openssl {arguments[0]} failed: {done.stderr[-300:]}"
