"""Ciphers of the tests, and the mark by which a test finds data where it should not be."""

from __future__ import annotations

from saga_service.encryption import EncryptionKey
from saga_service.encryption.aes_gcm import AesGcmCipher

MARKER = "Ada-Lovelace-12-Saint-James-Square"
OLD, NEW = EncryptionKey("old", b"o" * 32), EncryptionKey("new", b"n" * 32)
OF_OLD, OF_NEW, OF_BOTH = AesGcmCipher([OLD]), AesGcmCipher([NEW]), AesGcmCipher([NEW, OLD])
