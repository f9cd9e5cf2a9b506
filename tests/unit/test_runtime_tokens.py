"""Tokens: only hashes on disk, changes noticed at once, roles as the table of permissions says."""

import hashlib
import stat
from pathlib import Path

import pytest

from services.runtime.tokens import PERMISSIONS, ROLES, Caller, TokenError, TokenStore


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return TokenStore(tmp_path / "data" / "tokens.toml")


def test_a_new_token_authenticates_its_caller(store: TokenStore) -> None:
    secret = store.add("clinic-01", ["submitter"], ["S01", "S02"])
    caller = store.authenticate(secret)
    assert caller == Caller("clinic-01", frozenset({"submitter"}), frozenset({"S01", "S02"}))
    assert caller.may_see("S01")
    assert not caller.may_see("S03")


def test_a_token_without_sites_acts_for_all(store: TokenStore) -> None:
    caller = store.authenticate(store.add("dr-lee", ["safety_officer"]))
    assert caller is not None
    assert caller.sites is None
    assert caller.may_see("S99")


@pytest.mark.parametrize("secret", ["", "week12_", "something else", "\udcff", "x" * 10_000])
def test_anything_else_authenticates_nobody(store: TokenStore, secret: str) -> None:
    store.add("clinic-01", ["submitter"], ["S01"])
    assert store.authenticate(secret) is None


def test_the_file_holds_the_hash_and_only_its_owner_may_read_it(store: TokenStore) -> None:
    secret = store.add("clinic-01", ["submitter"], ["S01"])
    text = store.path.read_text()
    assert secret not in text
    assert hashlib.sha256(secret.encode()).hexdigest() in text
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_a_secret_has_256_random_bits(store: TokenStore) -> None:
    first, second = store.add("a", ["admin"]), store.add("b", ["admin"])
    assert first != second
    assert len(first.removeprefix("week12_")) == 43  # 32 bytes in base64 without padding


def test_a_running_service_notices_new_and_revoked_tokens(store: TokenStore) -> None:
    service = TokenStore(store.path)
    secret = store.add("clinic-01", ["submitter"], ["S01"])
    assert service.authenticate(secret) is not None
    store.revoke("clinic-01")
    assert service.authenticate(secret) is None


def test_a_damaged_file_keeps_the_tokens_read_before_but_does_not_start(store: TokenStore) -> None:
    secret = store.add("clinic-01", ["submitter"], ["S01"])
    store.path.write_text("[[token]\n")
    assert store.authenticate(secret) is not None
    with pytest.raises(TokenError, match=r"tokens\.toml is not a tokens file"):
        TokenStore(store.path)


@pytest.mark.parametrize(
    "text",
    [
        "token = 3",
        "[[token]]\nname = 'a'",
        "[[token]]\nname = 'a'\nsha256 = 'short'\nroles = ['admin']",
        "[[token]]\nname = 'a'\nsha256 = 3\nroles = ['admin']",
        f"[[token]]\nname = 'a'\nsha256 = '{'0' * 64}'\nroles = 'admin'",
        f"[[token]]\nname = 'a'\nsha256 = '{'0' * 64}'\nroles = ['admin']\nsites = [1]",
    ],
)
def test_a_file_of_another_shape_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(TokenError, match=r"tokens\.toml"):
        TokenStore(path)


def test_a_removed_file_means_no_tokens(store: TokenStore) -> None:
    secret = store.add("clinic-01", ["submitter"], ["S01"])
    store.path.unlink()
    assert store.authenticate(secret) is None


@pytest.mark.parametrize(
    ("name", "roles", "sites", "reason"),
    [
        ("", ["submitter"], ["S01"], "token name"),
        ("two words", ["submitter"], ["S01"], "token name"),
        ("x" * 65, ["submitter"], ["S01"], "token name"),
        ("a", ["doctor"], None, "role 'doctor' is unknown"),
        ("a", [], None, "no role"),
        ("a", ["submitter"], [], "a site is"),
        ("a", ["submitter"], ["S\n1"], "a site is"),
        ("a", ["submitter"], ["x" * 65], "a site is"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(
    store: TokenStore, name: str, roles: list[str], sites: list[str] | None, reason: str
) -> None:
    with pytest.raises(TokenError, match=reason):
        store.add(name, roles, sites)
    assert store.list() == ()


def test_names_are_unique_and_must_exist_to_be_revoked(store: TokenStore) -> None:
    store.add("clinic-01", ["submitter"], ["S01"])
    with pytest.raises(TokenError, match="clinic-01 exists"):
        store.add("clinic-01", ["submitter"], ["S02"])
    with pytest.raises(TokenError, match="no token is named clinic-02"):
        store.revoke("clinic-02")
    assert [token.caller.name for token in store.list()] == ["clinic-01"]


def test_names_and_sites_survive_the_file(store: TokenStore) -> None:
    secret = store.add("clinic-01", ["site_user"], ['Zürich "Süd"', "a\\b"])
    caller = TokenStore(store.path).authenticate(secret)
    assert caller is not None
    assert caller.sites == {'Zürich "Süd"', "a\\b"}


@pytest.mark.parametrize(
    ("role", "permissions"),
    [
        ("submitter", {"send"}),
        ("site_user", {"send", "read_patients", "read_rates", "read_alerts"}),
        ("safety_officer", {"read_patients", "read_rates", "read_alerts", "act_on_alerts"}),
        ("analyst", {"read_patients", "read_rates", "operate", "query"}),
        ("registry_lead", {"read_patients", "read_rates", "read_alerts", "operate", "query"}),
        ("auditor", {"read_patients", "read_rates", "read_alerts", "operate"}),
        ("admin", set()),
    ],
)
def test_permissions_are_those_of_the_roles_table(role: str, permissions: set[str]) -> None:
    caller = Caller("x", frozenset({role}))
    assert {permission for permission in PERMISSIONS if caller.may(permission)} == permissions


def test_every_role_is_tested_above() -> None:
    assert len(ROLES) == 7


def test_roles_add_up() -> None:
    caller = Caller("x", frozenset({"submitter", "safety_officer"}))
    assert caller.may("send")
    assert caller.may("act_on_alerts")
