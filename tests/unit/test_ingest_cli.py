"""`week12 token` and `week12 send` as people use them."""

import os
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result
from ingest_helpers import lab, lines

from services.cli import main
from services.runtime.tokens import TokenStore


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEEK12_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("WEEK12_TOKEN", raising=False)


def week12(*arguments: str, **options: object) -> Result:
    return CliRunner().invoke(main, arguments, **options)  # type: ignore[arg-type]


class TestToken:
    def test_add_prints_the_secret_alone_on_standard_output(self, tmp_path: Path) -> None:
        result = week12("token", "add", "clinic-01", "--role", "submitter", "--site", "S01", "--site", "S02")
        assert result.exit_code == 0
        secret = result.stdout.strip()
        caller = TokenStore(tmp_path / "tokens.toml").authenticate(secret)
        assert caller is not None
        assert caller.sites == {"S01", "S02"}
        assert secret not in result.stderr

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--role", "submitter"],
            ["--role", "submitter", "--site", "S01", "--all-sites"],
            ["--role", "site_user", "--role", "analyst"],
            ["--role", "doctor", "--site", "S01"],
            ["--site", "S01"],
        ],
    )
    def test_add_wants_a_role_and_says_so_about_sites(self, arguments: list[str], tmp_path: Path) -> None:
        assert week12("token", "add", "clinic-01", *arguments).exit_code == 2
        assert not (tmp_path / "tokens.toml").exists()

    def test_all_sites_must_be_said_for_a_submitter_only(self) -> None:
        assert week12("token", "add", "demo", "--role", "submitter", "--all-sites").exit_code == 0
        assert week12("token", "add", "dr-lee", "--role", "safety_officer").exit_code == 0

    def test_list_shows_no_secret(self) -> None:
        secret = week12("token", "add", "clinic-01", "--role", "submitter", "--site", "S01").stdout.strip()
        listed = week12("token", "list").stdout
        assert "clinic-01" in listed
        assert "submitter" in listed
        assert "S01" in listed
        assert secret not in listed

    def test_revoke(self) -> None:
        week12("token", "add", "clinic-01", "--role", "submitter", "--site", "S01")
        assert week12("token", "revoke", "clinic-01").exit_code == 0
        again = week12("token", "revoke", "clinic-01")
        assert (again.exit_code, again.stderr.count("\n")) == (1, 1)
        assert "no token is named clinic-01" in again.stderr


class Service(ThreadingHTTPServer):
    """Accepts every line but those of site S02."""

    bodies: list[bytes]
    authorizations: set[str]


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.bodies.append(body)
        self.server.authorizations.add(self.headers["authorization"])
        receipts = [self._receipt(orjson.loads(line)) for line in body.split(b"\n")]
        data = orjson.dumps({"receipts": receipts})
        self.send_response(202)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _receipt(self, event: dict[str, object]) -> dict[str, object]:
        if event["site_id"] != "S02":
            return {"status": "accepted", "warnings": []}
        error = {"path": "site_id", "code": "site_forbidden", "message": "not yours"}
        return {"status": "refused", "code": "site_forbidden", "errors": [error]}

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service(("127.0.0.1", 0), Handler)
    server.bodies, server.authorizations = [], set()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def url(service: Service) -> str:
    return f"http://127.0.0.1:{service.server_port}"


class TestSend:
    def test_a_good_file_is_sent_whole(self, url: str, service: Service, tmp_path: Path) -> None:
        (tmp_path / "e.jsonl").write_bytes(lines(lab(1), lab(2)))
        result = week12("send", "--url", url, "--token", "t0k", "e.jsonl")
        assert result.exit_code == 0
        assert "2 accepted, 0 duplicate, 0 refused" in result.stdout
        assert service.bodies == [lines(lab(1), lab(2))]
        assert service.authorizations == {"Bearer t0k"}
        assert not (tmp_path / "rejects.jsonl").exists()

    def test_standard_input_and_several_files(self, url: str, service: Service, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_bytes(lines(lab(1)))
        (tmp_path / "b.jsonl").write_bytes(lines(lab(2)))
        result = week12("send", "--url", url, "--token", "t", "a.jsonl", "b.jsonl")
        assert "2 accepted" in result.stdout

    def test_refused_lines_are_kept_for_their_owner_alone(self, url: str, tmp_path: Path) -> None:
        bad = [lab(2, unit="kg"), lab(3, site_id="S02")]
        (tmp_path / "e.jsonl").write_bytes(lines(lab(1), *bad) + b"\n{broken")
        kept = tmp_path / "kept.jsonl"
        kept.write_text("from an earlier run")
        kept.chmod(0o644)
        result = week12("send", "--url", url, "--token", "t", "--rejects", "kept.jsonl", "e.jsonl")
        assert result.exit_code == 1
        assert "1 accepted, 0 duplicate, 3 refused (see kept.jsonl)" in result.stdout
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        entries = [orjson.loads(line) for line in kept.read_bytes().splitlines()]
        assert [(e["file"], e["line"], e["errors"][0]["path"], e["errors"][0]["code"]) for e in entries] == [
            ("e.jsonl", 2, "unit", "unit_not_convertible"),
            ("e.jsonl", 3, "site_id", "site_forbidden"),
            ("e.jsonl", 4, "", "json_malformed"),
        ]
        assert [entry["text"] for entry in entries] == [*(orjson.dumps(e).decode() for e in bad), "{broken"]
        assert entries[0]["errors"][0]["message"]

    @pytest.mark.parametrize(
        ("options", "environment", "used"),
        [
            (["--token", "a", "--token-file", "t"], "c", "a"),
            (["--token-file", "t"], "c", "b"),
            ([], "c", "c"),
        ],
    )
    def test_where_the_token_comes_from(
        self, url: str, service: Service, tmp_path: Path, options: list[str], environment: str, used: str
    ) -> None:
        (tmp_path / "t").write_text("b\n")
        (tmp_path / "e.jsonl").write_bytes(lines(lab(1)))
        result = week12(
            "send", "--url", url, *options, "e.jsonl", env={**os.environ, "WEEK12_TOKEN": environment}
        )
        assert result.exit_code == 0
        assert service.authorizations == {f"Bearer {used}"}

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["e.jsonl"], "no token"),
            (["--token", "t", "missing.jsonl"], "missing.jsonl cannot be read"),
            (["--token", "t", "--url", "ftp://x", "e.jsonl"], "--url ftp://x"),
            (
                ["--token", "t", "--url", "http://127.0.0.1:9", "--give-up-after", "0", "e.jsonl"],
                "does not answer",
            ),
            (["--token", "t", "array.json"], "JSON array"),
            (["--token", "t", "--rejects", "no/such/folder", "bad.jsonl"], "--rejects no/such/folder"),
        ],
    )
    def test_errors_are_one_line_that_says_what_to_do(
        self, arguments: list[str], told: str, tmp_path: Path
    ) -> None:
        (tmp_path / "e.jsonl").write_bytes(lines(lab(1)))
        (tmp_path / "bad.jsonl").write_bytes(b"{")
        (tmp_path / "array.json").write_bytes(b"[]")
        result = week12("send", *arguments)
        assert result.exit_code == 1
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert told in line
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", [["send"], ["token"], ["token", "add"], ["ingest"]])
def test_help_teaches(command: list[str]) -> None:
    result = week12(*command, "--help")
    assert result.exit_code == 0
    assert "WEEK12_" in result.stdout or "NAME" in result.stdout
