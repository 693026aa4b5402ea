"""Recognize common non-image files by magic number, for actionable errors."""

from __future__ import annotations

from pathlib import Path

_HEADS = (
    (b"%PDF", "a PDF document; export the image itself from its source"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it first"),
    (b"\x1f\x8b", "compressed by gzip; unpack it first"),
    (b"BZh", "compressed by bzip2; unpack it first"),
    (b"\xfd7zXZ\x00", "compressed by xz; unpack it first"),
    (b"-----BEGIN PGP", "encrypted (PGP); decrypt it first"),
    (b"-----BEGIN ", "a key or certificate, or encrypted; decrypt it first"),
    (b"Salted__", "encrypted (OpenSSL); decrypt it first"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document, maybe with a password; export the image from it"),
    (b"<", "a web page or XML text, perhaps of a failed download; get the image again"),
)
_PKCS7 = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07"  # how an encrypted DICOM file begins (PS3.15, Annex D)


def what_else(path: Path) -> str | None:
    """Kind of a file and what to do about it; None if it is not recognized by its first bytes or cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return None
    if not head:
        return "empty; copy it again"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        locked = len(head) > 6 and head[6] & 1
        return f"a {'password-protected ' if locked else ''}zip archive; unpack it first"
    if head[:1] == b"\x30" and _PKCS7 in head[:24]:
        return "encrypted or signed (PKCS #7); decrypt it first"
    return next((text for start, text in _HEADS if head.startswith(start)), None)
