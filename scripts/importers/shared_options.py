"""Options shared by all formats of `scripts.prepare`, and the steps after an import.

A format's command has its own options and a keyword `common`, which becomes the shared ones:

    @app.command()
    @with_shared_options
    def folder(images: Images, out: Out, *, common: ImportOptions) -> Summary:
        return import_folder(images, out, common)
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.importers.import_options import MERGE, PANEL, ImportOptions
from scripts.importers.writing.import_summary import Summary
from scripts.importers.writing.private_map import check_private_map, write_private_map
from transforms.plain_text import one_line
from transforms.reading.limits import Limits, limited

Images = Annotated[
    Path, typer.Argument(metavar="IMAGES", help="Folder of DICOM files or pictures; subfolders are searched.")
]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Dataset folder to create.")]


def _of_the_command_line(
    private_map: Annotated[
        Path | None,
        typer.Option(
            "--private_map",
            rich_help_panel=PANEL,
            help="Also write the list of files and their cases. Keep it private.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", rich_help_panel=PANEL, help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", rich_help_panel=PANEL, help="No progress bar.")] = False,
) -> None:
    """Declare the command-line options that no importer needs; only the signature is used."""


@cache
def _parameters(of: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(of, eval_str=True).parameters


def with_shared_options(
    command: Callable[..., Summary] | None = None, *, without: Sequence[str] = ()
) -> Callable[..., Any]:
    """Add the shared options to a command that returns a summary; print the summary and write the private map.

    The command's parameters come first, then the shared options; its keyword `common` receives their values. `without`
    names shared options that do not apply to the format: `@with_shared_options(without=["bits"])`.
    """
    if command is None:
        return partial(with_shared_options, without=without)
    own = inspect.signature(command, eval_str=True).parameters
    shared = {name: p for name, p in _parameters(ImportOptions).items() if name not in (*without, "progress")}

    def run(private_map: Path | None, as_json: bool, quiet: bool, **values: Any) -> None:
        common = ImportOptions(**{name: values.pop(name) for name in shared}, progress=not quiet)
        if common.shard not in (None, MERGE):
            private_map = None  # case names are known only when all parts are done
        if private_map is not None:
            check_private_map(private_map, values["out"])
        with limited(Limits(common.max_megapixels, common.max_memory_gb)):
            summary = command(**values, common=common)
        if private_map is not None and not summary.dry_run:
            write_private_map(private_map, summary)
        _print(summary, as_json)

    parameters = [p for name, p in own.items() if name != "common"]
    parameters += [*shared.values(), *_parameters(_of_the_command_line).values()]
    merged = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in merged}  # typer looks here as well
    return run


def _print(summary: Summary, as_json: bool) -> None:
    from rich.console import Console

    from scripts.importers.writing.summary_tables import summary_dict, summary_table

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
