"""Cipher suites: how one frame is protected, given its key and a nonce that is never used twice.

| suite | protects with | appends |
| --- | --- | --- |
| none | CRC-32: accidental damage only | 4 bytes |
| gmac | AES-256-GCM over associated data alone: authenticated, readable by others | 16 bytes |
| aes128, aes192, aes256 | AES-GCM | 16 bytes |
| chacha20poly1305 | ChaCha20-Poly1305 | 16 bytes |
"""

from __future__ import annotations

import enum
import zlib
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from ....ipc.errors import InvalidArgument, OperationFailed
from .refusals import InvalidDigest, MalformedFrame, Refusal

NONCE_BYTES: Final = 12
"""Nonce of every suite."""

TAG_BYTES: Final = 16
"""Authentication tag of every suite but `none`; the most that a suite appends."""

_CRC_BYTES: Final = 4


class Protection(Protocol):
    """Seals and opens with one key.  The header is protected too, but travels beside what is sealed."""

    def seal(self, nonce: bytes, header: bytes, payload: bytes) -> bytes:
        """What travels behind the header.  *nonce* must never have been used with this key."""

    def open(self, nonce: bytes, header: bytes, sealed: memoryview) -> bytes:
        """The payload.

        Raises:
            InvalidDigest: header or payload are not what was sealed with this key and nonce.
            MalformedFrame: too short to have been sealed.
        """


class Suite(enum.Enum):
    """The suites.  The number stands in every frame; the label takes part in the key."""

    NONE = ("none", 0, 0)
    GMAC = ("gmac", 1, 32)
    AES128 = ("aes128", 2, 16)
    AES192 = ("aes192", 3, 24)
    AES256 = ("aes256", 4, 32)
    CHACHA20POLY1305 = ("chacha20poly1305", 5, 32)

    def __init__(self, label: str, number: int, key_bytes: int) -> None:
        self.label = label
        self.number = number
        self.key_bytes = key_bytes

    @classmethod
    def chosen(cls, cipher: str, integrity: bool) -> Suite:
        """The suite for `totem.crypto_cipher` = *cipher*; *integrity*: without a cipher, authenticate at least.

        Raises:
            InvalidArgument: there is no such cipher.
        """
        if cipher == "none":
            return cls.GMAC if integrity else cls.NONE
        for suite in cls:
            if suite.label == cipher and suite is not cls.GMAC:
                return suite
        known = ", ".join(suite.label for suite in cls if suite is not cls.GMAC)
        raise InvalidArgument(f"no cipher is named {cipher!r}; there are {known}")

    @property
    def authenticates(self) -> bool:
        """Whether only a holder of the key can produce a frame."""
        return self is not Suite.NONE

    def protection(self, key: bytes) -> Protection:
        """The protection under *key*, which has `key_bytes` bytes.

        Raises:
            OperationFailed: the cryptographic library of this machine does not offer the cipher.
        """
        if self is Suite.NONE:
            return _CHECKSUM
        try:
            if self is Suite.GMAC:
                return _Authenticated(AESGCM(key))
            return _Encrypted(ChaCha20Poly1305(key) if self is Suite.CHACHA20POLY1305 else AESGCM(key))
        except UnsupportedAlgorithm:
            raise OperationFailed(f"this machine's OpenSSL does not offer {self.label}; choose aes256") from None


class _Encrypted:
    """The payload can be read by holders of the key only."""

    def __init__(self, aead: AESGCM | ChaCha20Poly1305) -> None:
        self._encrypt = aead.encrypt
        self._decrypt = aead.decrypt

    def seal(self, nonce: bytes, header: bytes, payload: bytes) -> bytes:
        return self._encrypt(nonce, payload, header)

    def open(self, nonce: bytes, header: bytes, sealed: memoryview) -> bytes:
        if len(sealed) < TAG_BYTES:
            raise MalformedFrame(Refusal.BAD_FRAME)
        try:
            return self._decrypt(nonce, sealed, header)
        except InvalidTag:
            raise InvalidDigest from None


class _Authenticated:
    """The payload travels in the clear; only a holder of the key can have sent it."""

    def __init__(self, aead: AESGCM) -> None:
        self._encrypt = aead.encrypt
        self._decrypt = aead.decrypt

    def seal(self, nonce: bytes, header: bytes, payload: bytes) -> bytes:
        return payload + self._encrypt(nonce, b"", header + payload)

    def open(self, nonce: bytes, header: bytes, sealed: memoryview) -> bytes:
        if len(sealed) < TAG_BYTES:
            raise MalformedFrame(Refusal.BAD_FRAME)
        payload = bytes(sealed[:-TAG_BYTES])
        try:
            self._decrypt(nonce, sealed[-TAG_BYTES:], header + payload)
        except InvalidTag:
            raise InvalidDigest from None
        return payload


class _Checksum:
    """Notices accidents, not malice."""

    def seal(self, nonce: bytes, header: bytes, payload: bytes) -> bytes:
        return payload + zlib.crc32(payload, zlib.crc32(header)).to_bytes(_CRC_BYTES, "big")

    def open(self, nonce: bytes, header: bytes, sealed: memoryview) -> bytes:
        if len(sealed) < _CRC_BYTES:
            raise MalformedFrame(Refusal.BAD_FRAME)
        payload = bytes(sealed[:-_CRC_BYTES])
        if zlib.crc32(payload, zlib.crc32(header)).to_bytes(_CRC_BYTES, "big") != sealed[-_CRC_BYTES:]:
            raise InvalidDigest(Refusal.DAMAGED_FRAME)
        return payload


_CHECKSUM: Final = _Checksum()
