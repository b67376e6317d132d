"""Pseudonyms: a keyed hash of the PatientID, so that shards and reports name nobody.

The key is what protects the patients: hospital numbers are few enough to try them all, so a plain
hash would be undone in minutes. The key stays with whoever holds the DICOM files and is never
copied into shards, checkpoints or reports; with the same key the same patient gets the same
pseudonym in every build.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from msk_jax.environment import home
from msk_jax.errors import UserError

KEY_NAME = "pseudonym.key"
_MIN_KEY_BYTES = 16
_MAKE_ONE = "A new one, for a new cohort, is made by `openssl rand -hex 32 > FILE`."


def pseudonym(patient_id: str, key: bytes) -> str:
    """`P-` and the first 12 hex digits of HMAC-SHA256(key, patient id).

    48 bits: among 10,000 patients two share a pseudonym with a chance of 2 in 10 million, and the
    builder checks that none do.
    """
    digest = hmac.new(key, patient_id.strip().encode(), hashlib.sha256).hexdigest()
    return f"P-{digest[:12]}"


def default_key_path(manifest: Path | None) -> Path:
    """`pseudonym.key` beside the manifest if there is one, else the user's own.

    Raises:
        UserError: the user has no home to keep it in.
    """
    if manifest is not None:
        beside = Path(manifest).parent / KEY_NAME
        if beside.is_file():
            return beside
    folder = home()
    if folder is None:
        raise UserError(
            "The key of the pseudonyms is kept in the user's home folder, and this user has none "
            "(no HOME, no entry in /etc/passwd). Give --key and a file that holds one, or set "
            f"HOME. {_MAKE_ONE}"
        )
    return folder / ".config" / "msk_jax" / KEY_NAME


def load_key(path: Path) -> bytes:
    """Read a key as it lies in the file, without surrounding white space.

    Raises:
        UserError: the file cannot be read or is shorter than 16 bytes.
    """
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise UserError(
            f"The pseudonym key {path} cannot be read ({error.strerror}). Give --key and the "
            f"file with the key that the cohort was built with. {_MAKE_ONE}"
        ) from error
    if len(key) < _MIN_KEY_BYTES:
        raise UserError(
            f"The pseudonym key {path} has {len(key)} bytes; at least {_MIN_KEY_BYTES} are "
            f"needed. Give --key and another file. {_MAKE_ONE}"
        )
    return key


def load_or_create_key(path: Path) -> bytes:
    """Read a key; where there is no file, make one that only its owner can read (mode 0600).

    Raises:
        UserError: the file can be neither read nor made.
    """
    path = Path(path)
    if path.exists():
        return load_key(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return load_key(path)  # another process made it in the meantime
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    except OSError as error:
        raise UserError(
            f"The pseudonym key {path} cannot be made ({error.strerror}). Give a writable place "
            "with --key."
        ) from error
    return load_key(path)
