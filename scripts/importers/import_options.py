"""The options that all formats of `scripts.prepare` share, declared once, and what happens after an import.

A format's command has its own options and a keyword `common`, which becomes the shared ones:

    @app.command()
    @with_common_options
    def folder(images: Images, out: Out, *, common: Common) -> Summary:
        return import_folder(images, out, **common)
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.importers.writing.import_summary import Summary
from scripts.importers.writing.private_map import check_private_map, write_private_map
from transforms.plain_text import one_line
from transforms.reading.limits import MEGAPIXELS, MEMORY_GB, Limits, limited

Images = Annotated[
    Path, typer.Argument(metavar="IMAGES", help="Folder of DICOM files or pictures; subfolders are searched.")
]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Dataset folder to make.")]
Common = dict[str, Any]
"""Values of the shared options, as keyword arguments of an importer."""

SOURCE_OPTIONS = ("subject", "validation", "split_by", "windowing", "bits")
"""Shared options that a source decides for itself if it is a dataset folder."""

_PANEL = "Options of all formats"


def _option(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=_PANEL, **settings)


def _shared(
    subject: Annotated[
        str | None,
        _option(
            help="Regular expression for the subject in a path. Default: PatientID, else the name less side and view."
        ),
    ] = None,
    validation: Annotated[float, _option(help="Share of the subjects that is validated on.")] = 0.3,
    seed: Annotated[int, _option(help="Another seed draws another split.")] = 0,
    split_by: Annotated[
        str, _option("--split_by", help="subject, or image: as in the paper, optimistic if subjects have several.")
    ] = "subject",
    windowing: Annotated[
        str, _option(help="voi (the DICOM's own), none, or percentile (0.5 to 99.5 of each image).")
    ] = "voi",
    bits: Annotated[int | None, _option(min=1, max=16, help="Bits that pictures really use, such as 12.")] = None,
    flip: Annotated[
        str, _option(help="left or right: mirror images so that every breast hangs there; none: as they are.")
    ] = "none",
    name: Annotated[str | None, _option(help="Name of the dataset. Default: of OUT.")] = None,
    licence: Annotated[str, _option(help="Terms under which the data may be used.")] = "",
    reference: Annotated[str, _option(help="What to cite.")] = "",
    overwrite: Annotated[bool, _option("--overwrite", help="Replace OUT if it is a dataset folder.")] = False,
    strict: Annotated[bool, _option("--strict", help="An image that cannot be read is an error.")] = False,
    private_map: Annotated[
        Path | None, _option("--private_map", help="Also write which file became which case. Keep it private.")
    ] = None,
    workers: Annotated[
        int | None, _option(min=1, help="Processes that read. Default: for much work one a processor, at most 4.")
    ] = None,
    intent: Annotated[
        str, _option(help="Of views stored FOR PRESENTATION and FOR PROCESSING: presentation, processing, or both.")
    ] = "presentation",
    max_megapixels: Annotated[
        float, _option("--max_megapixels", help="Refuse images of more pixels; mammograms have at most 30 million.")
    ] = MEGAPIXELS,
    max_memory_gb: Annotated[
        float, _option("--max_memory_gb", help="Refuse images that need more memory to be read.")
    ] = MEMORY_GB,
    dry_run: Annotated[bool, _option("--dry_run", help="Say what would be written; look at headers only.")] = False,
    as_json: Annotated[bool, _option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, _option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Only its signature is used."""


@cache
def _shared_parameters() -> Mapping[str, inspect.Parameter]:
    return inspect.signature(_shared, eval_str=True).parameters


def with_common_options(
    command: Callable[..., Summary] | None = None, *, without: Sequence[str] = ()
) -> Callable[..., Any]:
    """Add the shared options to a command that returns what was written; print and map that.

    The command's parameters come first, then the shared options; its keyword `common` receives their values. A
    parameter of the same name as a shared option stands in its place: the command has it for itself. `without` names
    shared options that mean nothing to the format: `@with_common_options(without=["bits"])`.
    """
    if command is None:
        return partial(with_common_options, without=without)
    own = inspect.signature(command, eval_str=True).parameters
    shared = _shared_parameters()
    added = {name: parameter for name, parameter in shared.items() if name not in own and name not in without}

    def run(**values: Any) -> None:
        common = {name: values.pop(name) for name in added}
        private_map, as_json = common.pop("private_map"), common.pop("as_json")
        common["progress"] = not common.pop("quiet")
        if private_map is not None:
            check_private_map(private_map, values["out"])
        with limited(Limits(common["max_megapixels"], common["max_memory_gb"])):
            summary = command(**values, common=common)
        if private_map is not None and not summary.dry_run:
            write_private_map(private_map, summary)
        _print(summary, as_json)

    parameters = [*(p for k, p in own.items() if k != "common"), *added.values()]
    merged = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in merged}  # typer looks here as well
    return run


def _print(summary: Summary, as_json: bool) -> None:
    from rich.console import Console

    from scripts.importers.writing.tables import summary_dict, summary_table

    if as_json:
        print(json.dumps(summary_dict(summary), indent=1, ensure_ascii=False))
        return
    Console().print(summary_table(summary))
    errors = Console(stderr=True, highlight=False)
    for path, reason in summary.rejected[:20]:
        errors.print(
            f"left out: {reason if one_line(path) in reason else f'{one_line(path)}: {reason}'}",
            markup=False,
            soft_wrap=True,
        )
    if len(summary.rejected) > 20:
        errors.print(f"left out: {len(summary.rejected) - 20} more images; --json lists them all")
