"""Hostile files: seeded changes of valid ones, and files made by hand to be as bad as can be."""

from __future__ import annotations

import random
import re
import struct
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from attacks import ATTACKS
from more_texts import MORE_ATTACKS
from seeds import CANARY, Seeds

SHARES = {
    **{"dicom": 300, "png": 90, "jpeg": 90, "tiff": 110, "bmp": 30, "nifti": 80, "nrrd": 60, "metaio": 70, "npy": 40},
    **{"geojson": 80, "xml": 50, "csv": 40, "dataset": 60},
    **{"cesm": 40, "options": 40},
}
"""Files of each kind per 1,100."""
TEXTS = ("geojson", "xml", "csv", "dataset", "cesm", "options")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_WORDS = (
    *(
        b"-1",
        b"0",
        b"1e400",
        b"-1e400",
        b"NaN",
        b"Infinity",
        b"null",
        b"true",
        b'""',
        b"99999999999999999999",
        b"1e-300",
    ),
    *(
        b"9" * 5000,
        b"[]",
        b"{}",
        b"\x00",
        b"\xff\xfe",
        b"\x1b[31m",
        b"\r\n",
        b"=cmd|' /C calc'!A0",
        b"<script>",
        b"%s%n",
    ),
    *(b"../../etc/passwd", b"/dev/zero", b"\xe2\x80\xae", b'"', b"'", b"<", b"&lol;", b"A" * 100_000, b"[" * 100_000),
)
_VALUES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000, 100_000)


@dataclass(frozen=True)
class Hostile:
    """One file.

    Attributes:
        number: by which it is made again.
        kind: of `SHARES`.
        how: what was done.
        suffix: of its name.
        content: its bytes.
        beside: more files in its folder, name to content; None is a named pipe.
    """

    number: int
    kind: str
    how: str
    suffix: str
    content: bytes
    beside: dict[str, bytes | None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the file."""
        return f"f{self.number:05d}{self.suffix}"


def hostile_files(seeds: Seeds, count: int, seed: int) -> list[Hostile]:
    """As many files as asked for, of all kinds; all that are made by hand are among them."""
    total = sum(SHARES.values())
    kinds = [kind for kind, share in SHARES.items() for _ in range(-(-share * count // total))]
    found, by_hand = [], {kind: [*ATTACKS.get(kind, []), *MORE_ATTACKS.get(kind, [])] for kind in SHARES}
    for number, kind in enumerate(kinds):
        rng = random.Random(f"{seed}/{number}/{kind}")
        if by_hand[kind]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pydicom, of what it is told to write
                how, suffix, content, beside = by_hand[kind].pop(0)()
        else:
            suffix, content = rng.choice(seeds[kind])
            how, content = _changed(rng, kind, content, seeds)
            beside = {}
        planted = content.replace(CANARY.encode(), f"ZQ{number + 1:010d}".encode())
        found.append(Hostile(number, kind, how, suffix, planted, beside))
    return found


def _changed(rng: random.Random, kind: str, content: bytes, seeds: Seeds) -> tuple[str, bytes]:
    methods = _OF_TEXTS if kind in TEXTS else _OF_BYTES
    names = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        method = rng.choice(methods)
        names.append(method.__name__.strip("_"))
        content = method(rng, content, [entry[1] for entry in seeds[kind]])
    return "+".join(names), content


Others = Sequence[bytes]


def _flip(rng: random.Random, content: bytes, _: Others) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 4, 16, 64])):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _flip_head(rng: random.Random, content: bytes, _: Others) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice([1, 2, 8])):
        if data:
            data[rng.randrange(min(len(data), 600))] = rng.randrange(256)
    return bytes(data)


def _cut(rng: random.Random, content: bytes, _: Others) -> bytes:
    return content[: int(len(content) * rng.choice([0, 0.02, 0.1, 0.5, 0.9, 0.99]) + rng.randrange(20))]


def _number(rng: random.Random, content: bytes, _: Others) -> bytes:
    """A number of two or four bytes that lies."""
    data, width, order = bytearray(content), rng.choice("HI"), rng.choice("<>")
    size = struct.calcsize(width)
    for _ in range(rng.choice([1, 1, 3])):
        at = rng.randrange(max(1, min(len(data), rng.choice([64, 400, 1500])) - size))
        value = rng.choice(_VALUES) % (1 << 8 * size)
        if at + size <= len(data):
            data[at : at + size] = struct.pack(order + width, value)
    return bytes(data)


def _zeros(rng: random.Random, content: bytes, _: Others) -> bytes:
    at, size = rng.randrange(len(content) + 1), rng.choice([4, 64, 1000])
    return content[:at] + bytes(min(size, len(content) - at)) + content[at + size :]


def _double(rng: random.Random, content: bytes, _: Others) -> bytes:
    at, size = rng.randrange(len(content) + 1), rng.choice([8, 100, 3000])
    return content[: at + size] + content[at : at + size] * rng.choice([1, 1, 40]) + content[at + size :]


def _remove(rng: random.Random, content: bytes, _: Others) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + content[at + rng.choice([1, 2, 8, 300]) :]


def _splice(rng: random.Random, content: bytes, others: Others) -> bytes:
    other = rng.choice(list(others))
    return content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other)) :]


def _tail(rng: random.Random, content: bytes, _: Others) -> bytes:
    return content + rng.choice([bytes(100), rng.randbytes(5000), b"\xff" * 70_000])


def _digits(rng: random.Random, content: bytes, _: Others) -> bytes:
    """A number that is text, also in the headers of binary files."""
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    one = rng.choice(found)
    return content[: one.start()] + rng.choice(_WORDS) + content[one.end() :]


def _word(rng: random.Random, content: bytes, _: Others) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.choice(_WORDS) + content[at:]


def _value(rng: random.Random, content: bytes, _: Others) -> bytes:
    """A quoted text that becomes something else."""
    found = list(re.finditer(rb'"[^"]{0,80}"|>[^<]{1,80}<', content))
    if not found:
        return content
    one = rng.choice(found)
    return content[: one.start() + 1] + rng.choice(_WORDS) + content[one.end() - 1 :]


def _lines(rng: random.Random, content: bytes, _: Others) -> bytes:
    """Lines or members that are lost, doubled or exchanged."""
    mark = b"\n" if content.count(b"\n") > 3 else b","
    parts = content.split(mark)
    at, other = rng.randrange(len(parts)), rng.randrange(len(parts))
    what = rng.randrange(3)
    if what == 0:
        del parts[at]
    elif what == 1:
        parts.insert(other, parts[at])
    else:
        parts[at], parts[other] = parts[other], parts[at]
    return mark.join(parts)


def _encoding(rng: random.Random, content: bytes, _: Others) -> bytes:
    text = content.decode("utf-8", "replace")
    return text.encode(rng.choice(["utf-16", "utf-16-le", "utf-32", "cp1252", "utf-7"]), "replace")


Method = Callable[[random.Random, bytes, Others], bytes]
_OF_BYTES: tuple[Method, ...] = (
    *(
        _flip,
        _flip_head,
        _flip_head,
        _cut,
        _number,
        _number,
        _number,
        _zeros,
        _double,
        _remove,
        _splice,
        _tail,
        _digits,
    ),
)
_OF_TEXTS: tuple[Method, ...] = (
    *(
        _flip,
        _cut,
        _double,
        _splice,
        _digits,
        _digits,
        _digits,
        _word,
        _value,
        _value,
        _lines,
        _lines,
        _encoding,
        _tail,
    ),
)
