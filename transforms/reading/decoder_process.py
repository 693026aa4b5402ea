"""Decode data that can crash the process: a program run by `transforms.reading.decoder`, which imports the protocol.

Requests are read from the standard input, and each is answered on the standard output, until the input ends. Requests
and answers consist of the length of a JSON text (4 bytes, little-endian), the length of the data (8 bytes), the text
and the data. An answer with "error" has the kind of the exception and no data.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import sys
import warnings
from typing import IO, Any

HEAD = struct.Struct("<IQ")
"""Head of a request or an answer: length of the JSON text and of the data, in bytes."""


def main() -> None:
    """Answer until the requests end (EOFError), or the answers are no longer read (OSError)."""
    sys.path.pop(0)  # this folder, which Python puts first: its modules have common names
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the requesting process
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # output of libraries would be read as an answer
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    while True:
        request, sent = receive(requests)
        try:
            answer, data = answer_to(request, sent)
        except BaseException as error:  # a panic of Rust code is not an `Exception`
            answer, data = {"error": type(error).__name__}, b""
        send(answers, answer, data)


def answer_to(request: dict[str, Any], data: bytearray) -> tuple[dict[str, Any], Any]:
    """The answer to one request, and its pixels."""
    _limit_memory(request["memory"])
    job = {"gdcm": _by_gdcm, "pydicom": _by_pydicom, "itk": _by_itk}[request["job"]]
    return job(request, data)


def _limit_memory(limit: int) -> None:
    """Limit the memory of this process, so that a decoder that needs more fails; 1 GiB is for the program itself."""
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit + 2**30, hard))
    except (ImportError, ValueError, OSError):
        pass


def _by_gdcm(request: dict[str, Any], data: bytearray) -> tuple[dict[str, Any], Any]:
    """Decode a JPEG data stream of one grayscale image."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(bytes(data))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((request["columns"], request["rows"], 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(request["syntax"])))
    stored = request["stored"]
    image.SetPixelFormat(gdcm.PixelFormat(1, request["allocated"], stored, stored - 1, request["signed"]))
    pixels = image.GetBuffer()  # bytes as text, or None
    if pixels is None:
        return {"error": "ValueError"}, b""
    return {}, pixels.encode("utf-8", "surrogateescape")


def _by_pydicom(request: dict[str, Any], data: bytearray) -> tuple[dict[str, Any], Any]:
    """Decode a frame by one of pydicom's plugins."""
    import numpy as np
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(request["syntax"])
    for keyword, value in request["attributes"].items():
        setattr(image, keyword, value)
    image.PixelData = encapsulate([bytes(data)])
    image.pixel_array_options(decoding_plugin=request["plugin"])
    return _array(np.ascontiguousarray(image.pixel_array))


def _by_itk(request: dict[str, Any], _: bytearray) -> tuple[dict[str, Any], Any]:
    """Read a MetaIO or NRRD file whose header has been checked."""
    import itk

    reader = {"meta": itk.MetaImageIO, "nrrd": itk.NrrdImageIO}[request["kind"]]
    image = itk.imread(request["path"], imageio=reader.New())
    answer, data = _array(itk.array_view_from_image(image))
    answer |= {
        "components": image.GetNumberOfComponentsPerPixel(),
        "spacing": list(itk.spacing(image)),
        "origin": list(itk.origin(image)),
        "direction": itk.array_from_matrix(image.GetDirection()).tolist(),
    }
    return answer, data


def _array(array: Any) -> tuple[dict[str, Any], Any]:
    return {"dtype": array.dtype.str, "shape": array.shape}, array.reshape(-1).view("u1").data


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytearray]:
    """Read a request or an answer, and its data.

    Raises:
        EOFError: the stream ends early.
    """
    text_size, data_size = HEAD.unpack(_read(stream, HEAD.size))
    return json.loads(_read(stream, text_size)), _read(stream, data_size)


def _read(stream: IO[bytes], size: int) -> bytearray:
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        done += count
    return data


def send(stream: IO[bytes], message: dict[str, Any], data: Any) -> None:
    """Write a request or an answer, and its data, to an unbuffered stream."""
    text = json.dumps(message).encode()
    for part in (HEAD.pack(len(text), len(data)) + text, data):
        view = memoryview(part)
        while view:
            view = view[stream.write(view) :]


if __name__ == "__main__":
    with contextlib.suppress(OSError, EOFError):  # the requesting process has ended
        main()
    os._exit(0)  # extension modules can crash while Python shuts down
