"""The key of an encrypted journal: from the system's keyring, else asked for; never from a command's arguments."""

import importlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from clario.errors import InputError
from clario.journal.database import is_encrypted

SERVICE: Final = "clario journal"
Ask = Callable[[bool], str]
"""Asks a person for the key; told whether it is a new one, which is better asked for twice."""


def key_of(path: Path, ask: Ask, *, encrypted: bool = False) -> str | None:
    """The key that a journal opens with; None for one that is not encrypted.

    A new encrypted journal gets a random key, kept in the keyring; without a keyring a passphrase is asked for.

    Args:
        encrypted: whether a new journal is to be encrypted; one that is there is what it is.

    Raises:
        InputError: it is there and not encrypted, although that was asked for.
    """
    if path.exists() and path.stat().st_size:
        if is_encrypted(path):
            return _stored(path) or ask(False)
        if encrypted:
            raise InputError(f"{path} is there and not encrypted; name another file, and import its export there")
        return None
    if not encrypted:
        return None
    return _store(path, secrets.token_hex(32)) or ask(True)


def _stored(path: Path) -> str | None:
    key: str | None = _with_keyring(lambda keyring: keyring.get_password(SERVICE, str(path.resolve())))
    return key


def _store(path: Path, key: str) -> str | None:
    """The key, if the keyring has kept it."""
    kept = _with_keyring(lambda keyring: keyring.set_password(SERVICE, str(path.resolve()), key) or True)
    return key if kept and _stored(path) == key else None


def _with_keyring(use: Callable[[Any], Any]) -> Any:
    """What a use of the keyring gives; None where there is no keyring, or it refuses."""
    try:
        keyring = importlib.import_module("keyring")
        errors = importlib.import_module("keyring.errors")
    except ImportError:
        return None
    try:
        return use(keyring)
    except errors.KeyringError:
        return None
