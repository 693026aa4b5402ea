"""Decode one JPEG data stream with GDCM. Run as a program by `transforms.reading.jpeg`, never imported.

Arguments: transfer syntax UID, rows, columns, bits allocated, bits stored, pixel representation. JPEG data on the
standard input, pixels on the standard output. Exit code 1 if GDCM gives nothing.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this folder, which Python puts first: its modules have common names

import gdcm


def main() -> int:
    """Decode; returns the exit code."""
    syntax = sys.argv[1]
    rows, columns, allocated, stored, signed = map(int, sys.argv[2:])
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(sys.stdin.buffer.read())
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, stored, stored - 1, signed))
    pixels = image.GetBuffer()  # bytes as text, or None
    if pixels is None:
        return 1
    sys.stdout.buffer.write(pixels.encode("utf-8", "surrogateescape"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
