"""Text headers of MetaIO and NRRD, checked before ITK opens the file.

A header can name any file as its data: a pipe, a device, /etc/passwd. Only a regular file in the header's own folder is
read. A header can also state any size, and NRRD of 16 dimensions crashes the reading process.
Sources: itk.org/Wiki/MetaIO/Documentation; teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path

from transforms.errors import UserError
from transforms.reading import limits
from transforms.reading.find_files import real_path

META_SUFFIXES, NRRD_SUFFIXES = (".mha", ".mhd"), (".nrrd", ".nhdr")
_META_LINE = re.compile(r"\s*([A-Za-z][\w.-]*(?: [\w.-]+)*)\s*[=:]\s*(.*)")
_NRRD_LINE = re.compile(r"([A-Za-z][A-Za-z ]*): ?(.*)")
_NAME = re.compile(r'[^/\\%:*?"<>|\x00-\x1f]+')
_META_BYTES = {
    **{"MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4},
    **{"MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8},
}
_NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"), 4
    ),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "signed long long int"), 8),
    **dict.fromkeys(("int64", "int64_t", "ulonglong", "unsigned long long", "unsigned long long int"), 8),
    **dict.fromkeys(("uint64", "uint64_t", "double"), 8),
}
Fields = dict[str, str]


def check_header(path: Path) -> str:
    """Check a header; return "meta" or "nrrd", the reader to use.

    Raises:
        UserError: not such a header, more than one slice, more pixels or bytes than `limits` allow or than the file
            has, or data that are not a regular file in the header's folder.
    """
    meta = path.name.lower().endswith(META_SUFFIXES)
    fields, start = (_meta_fields if meta else _nrrd_fields)(path)
    sizes, width = (_meta_size if meta else _nrrd_size)(path, fields)
    if not 2 <= len(sizes) <= limits.DIMENSIONS or min(sizes) < 1:
        raise UserError(f"{path}: a volume of size {' x '.join(map(str, sizes[:9]))}; expected one slice")
    rows = math.prod(sizes) // sizes[0]
    limits.check_size(path, rows, sizes[0], width)
    data = _data_file(path, fields.get("ElementDataFile" if meta else "data file"))
    raw = fields.get("CompressedData", "False").upper()[:1] != "T" if meta else fields.get("encoding") == "raw"
    have = data.stat().st_size - (start if data == path else 0)
    if raw and fields.get("BinaryData", "True").upper()[:1] == "T" and have < rows * sizes[0] * width:
        raise UserError(f"{data}: cut short, {have} of {rows * sizes[0] * width:.0f} bytes of pixels; copy it again")
    if meta and not raw:
        _check_packed(path, fields, data, start, int(rows * sizes[0] * width))
    return "meta" if meta else "nrrd"


def _check_packed(path: Path, fields: Fields, data: Path, start: int, expected: int) -> None:
    """Refuse compressed data that end early or state no size: MetaIO would leave the remaining pixels uninitialized."""
    if "CompressedDataSize" not in fields:
        raise UserError(f"{path}: compressed, but without CompressedDataSize; save it again, or uncompressed")
    size = _number(path, fields, "CompressedDataSize", 0)
    with data.open("rb") as file:
        file.seek(start if data == path else 0)
        packed = file.read(size)
    try:
        found = limits.inflated_size(packed, expected, zlib.MAX_WBITS | 32) if len(packed) == size else 0
    except zlib.error:
        found = 0
    if found != expected:
        raise UserError(f"{data}: damaged: its compressed pixels end early or do not match its header; copy it again")


def _lines(path: Path) -> list[tuple[bytes, int]]:
    """Lines of the header up to its maximum length, and the position after each."""
    with path.open("rb") as file:
        content = file.read(limits.TEXT_HEADER_BYTES)
    lines, at = [], 0
    while (end := content.find(b"\n", at)) >= 0:
        lines.append((content[at:end].rstrip(b"\r"), end + 1))
        at = end + 1
    if at < len(content):
        lines.append((content[at:], len(content)))
    return lines


def _meta_fields(path: Path) -> tuple[Fields, int]:
    """Fields up to ElementDataFile, the last one, and the position of the data."""
    fields: Fields = {}
    for line, end in _lines(path):
        if not line.strip():
            continue
        found = _META_LINE.fullmatch(_text(path, line))
        if found is None:
            break
        _put(path, fields, found[1], found[2].strip())
        if found[1] == "ElementDataFile":
            return fields, end
    raise _no_header(path, "MetaIO", "ElementDataFile")


def _nrrd_fields(path: Path) -> tuple[Fields, int]:
    """Fields up to an empty line, and the position of the data."""
    fields: Fields = {}
    lines = _lines(path)
    if not lines or not re.fullmatch(rb"NRRD000[1-5]", lines[0][0]):
        raise _no_header(path, "NRRD", "NRRD0004 as its first line")
    for line, end in lines[1:]:
        text = _text(path, line)
        if not text:
            return fields, end
        found = _NRRD_LINE.fullmatch(text)
        if found is not None and ":=" not in text:
            name = found[1].strip().lower()
            _put(path, fields, {"datafile": "data file"}.get(name, name), found[2].strip())
        elif not text.startswith("#") and ":=" not in text:
            raise _no_header(path, "NRRD", "lines of the form field: value")
    return fields, lines[-1][1]


def _text(path: Path, line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: damaged header, a line is not text; copy it again") from None


def _put(path: Path, fields: Fields, name: str, value: str) -> None:
    if name.lower() in {known.lower() for known in fields}:
        raise UserError(f"{path}: damaged header, {name} occurs twice; save it again")
    fields[name] = value


def _no_header(path: Path, kind: str, expected: str) -> UserError:
    return UserError(f"{path}: not a readable image: no {kind} header; expected {expected}")


def _meta_size(path: Path, fields: Fields) -> tuple[list[int], float]:
    sizes = _numbers(path, fields, "DimSize")
    if _number(path, fields, "NDims", len(sizes)) != len(sizes):
        raise UserError(
            f"{path}: damaged header, NDims {fields['NDims']} and DimSize {fields['DimSize']}; save it again"
        )
    width = _META_BYTES.get(fields.get("ElementType", ""))
    if width is None:
        raise UserError(
            f"{path}: ElementType is {fields.get('ElementType')}; expected MET_UCHAR, MET_USHORT or the like"
        )
    return sizes, width * _number(path, fields, "ElementNumberOfChannels", 1)


def _nrrd_size(path: Path, fields: Fields) -> tuple[list[int], float]:
    sizes = _numbers(path, fields, "sizes")
    if _number(path, fields, "dimension", 0) != len(sizes):
        raise UserError(
            f"{path}: damaged header, dimension {fields.get('dimension')} and {len(sizes)} sizes; save it again"
        )
    width = _NRRD_BYTES.get(fields.get("type", "").lower())
    if width is None:
        raise UserError(f"{path}: its type is {fields.get('type')}; expected uint8, uint16 or the like")
    return sizes, width


def _numbers(path: Path, fields: Fields, name: str) -> list[int]:
    parts = fields.get(name, "").split()
    if not parts or not all(re.fullmatch(r"\d{1,9}", part) for part in parts):
        raise UserError(
            f"{path}: damaged header, {name} is {fields.get(name, 'missing')!r:.60}; expected whole numbers"
        )
    return [int(part) for part in parts]


def _number(path: Path, fields: Fields, name: str, default: int) -> int:
    return _numbers(path, fields, name)[0] if name in fields else default


def _data_file(path: Path, name: str | None) -> Path:
    """The file that holds the pixels: the header's own, or a regular file beside it."""
    if name is None or name.upper() == "LOCAL":
        return path
    if not _NAME.fullmatch(name) or name in (".", "..") or name.upper().startswith("LIST"):
        raise UserError(
            f"{path}: names {name!r:.80} as its data; expected the name of one file in the same folder, without a path"
        )
    data = path.parent / name
    inside = real_path(data).parent in (real_path(path.parent), real_path(path).parent)
    if not (inside and data.is_file()):
        raise UserError(f"{path}: its data {name} are not a regular file in the same folder; copy them there")
    return data
