"""Pseudonyms and their key."""

import stat

import pytest

from msk_jax.data.privacy.pseudonyms import (
    default_key_path,
    load_key,
    load_or_create_key,
    pseudonym,
)
from msk_jax.errors import UserError


def test_is_hmac_sha256():
    # RFC 4231, test case 2: key "Jefe", data "what do ya want for nothing?".
    assert pseudonym("what do ya want for nothing?", b"Jefe") == "P-5bdcc146bf60"


def test_depends_on_key_and_patient_only():
    key, other = b"k" * 32, b"l" * 32
    assert pseudonym("A", key) == pseudonym(" A ", key)
    assert len({pseudonym("A", key), pseudonym("B", key), pseudonym("A", other)}) == 3


def test_created_key_is_private_random_and_kept(tmp_path):
    path = tmp_path / "deep" / "pseudonym.key"
    key = load_or_create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create_key(path) == key == load_key(path)
    assert load_or_create_key(tmp_path / "other.key") != key


def test_key_beside_the_manifest_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    manifest = tmp_path / "manifest.csv"
    own = tmp_path / "home" / ".config" / "msk_jax" / "pseudonym.key"
    assert default_key_path(manifest) == default_key_path(None) == own
    (tmp_path / "pseudonym.key").write_text("x" * 32)
    assert default_key_path(manifest) == tmp_path / "pseudonym.key"


def test_bad_keys(tmp_path):
    (tmp_path / "short").write_text("abc\n")
    with pytest.raises(UserError, match="has 3 bytes"):
        load_key(tmp_path / "short")
    with pytest.raises(UserError, match=r"cannot be read.*`openssl rand -hex 32 >"):
        load_key(tmp_path / "missing")
    with pytest.raises(UserError, match="cannot be made"):
        load_or_create_key(tmp_path / "short" / "below-a-file")
