"""Segment every readable image below a folder."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from monai.engines import Evaluator
from torch.utils.data import IterableDataset

from engines.base.collector import take_up
from engines.base.machine_errors import errors_in_one_line
from engines.base.paths import as_path
from engines.base.threads import computing
from engines.base.world import gathered, is_main, rank, world_size
from engines.inference.ensemble import Ensemble
from engines.inference.finite import naming_case
from transforms.dataset import SECTIONS, Dataset
from transforms.dataset_folder import is_file
from transforms.errors import UserError, user_error
from transforms.outputs.findings_table import FILE, merge_parts, put_refused, table_for
from transforms.outputs.formats import ENDINGS
from transforms.outputs.geojson import drawn_by_hand
from transforms.outputs.save import SaveSegmentationd
from transforms.plain_text import one_line
from transforms.reading.dicom import quiet
from transforms.reading.find_files import image_candidates
from transforms.reading.names import result_name, stem
from transforms.strict_json import read_json

logger = logging.getLogger("mammoseg")


def find_images(path: str | Path, but_not_in: str | Path | None = None) -> list[dict[str, Any]]:
    """Return all files below a folder (or the one file) that may be images, in order of name.

    DICOM files often have no ending, or a number as ending, so formats are detected on reading.

    Args:
        path: folder or file.
        but_not_in: a folder inside it that is skipped: the folder of earlier results.

    Returns items with `image` (path) and `name` (path below the folder without its ending). For a dataset folder, made
    by `scripts.prepare`, they are its images, with their entries of dataset.json as `recorded`.

    Raises:
        UserError: the path does not exist or has no images; or results would be written among the images.
    """
    root = as_path(path)
    if not root.exists():
        raise UserError(f"{root}: no such file or folder; give --dataset_dir a folder with DICOM, PNG or NIfTI images")
    if but_not_in is not None and root.is_dir() and as_path(but_not_in).resolve() == root.resolve():
        raise UserError(
            f"--results_dir {root}: holds the images, and files beside them would be replaced; give another"
        )
    if is_file(root / "dataset.json"):
        items = _of_dataset(root)
        if items:
            return items
    files = _without_results(image_candidates(root, [] if but_not_in is None else [as_path(but_not_in)]))
    if not files:
        raise UserError(f"{root}: no image in it; expected DICOM, PNG, TIFF or NIfTI files in it or its folders")
    folder = root.parent if root.is_file() else root
    whole = [p.relative_to(folder).as_posix() for p in files]
    names = [(p.relative_to(folder).parent / stem(p)).as_posix() for p in files]
    while len(set(names)) < len(names):  # files with the same name keep their endings
        often = Counter(names)
        names = [name if often[name] == 1 else full for name, full in zip(names, whole, strict=True)]
    return [{"image": str(p), "name": result_name(name)} for p, name in zip(files, names, strict=True)]


def _of_dataset(folder: Path) -> list[dict[str, Any]]:
    """Return the images of a dataset folder; none, and a warning, if its dataset.json is from another tool.

    Raises:
        UserError: a dataset folder of this project cannot be opened; its labels are no images to segment.
    """
    try:
        data = Dataset.load(folder)
    except UserError as error:
        if _may_be_ours(folder / "dataset.json"):
            raise
        logger.warning("%s; treated as an ordinary folder of images", error)
        return []
    items: list[dict[str, Any]] = []
    for section in SECTIONS:
        for item, facts in zip(data.items(section), data.content.get(section, []), strict=True):
            recorded = {} if data.colour else {"recorded": {**facts, "windowing": data.windowing}}
            items.append({"image": item["image"], "name": item["case"], **recorded})
    return sorted(items, key=lambda item: str(item["name"]))


def _may_be_ours(path: Path) -> bool:
    try:
        content = read_json(path)
    except (ValueError, OSError):
        return True
    return isinstance(content, dict) and "format_version" in content


def _without_results(files: list[Path]) -> list[Path]:
    """Return the files that are not named like results of other files."""
    stems = {stem(p) for p in files}
    endings = tuple(ENDINGS.values())
    kept = [p for p in files if not any(p.name.endswith(e) and p.name.removesuffix(e) in stems for e in endings)]
    if len(kept) < len(files):
        logger.info("%d files are named like results of other images and are left out", len(files) - len(kept))
    return kept


class ReadableImages(IterableDataset[dict[str, Any]]):
    """Transformed items of all readable files; the others are listed in `refused` with the reason.

    `reasons` maps the names of these items to the reason.

    Args:
        data: items of `find_images`.
        transform: reads and prepares one item; a `UserError` it raises refuses the file.
        finished: returns whether to skip an item, such as `transforms.outputs.resume.Finished`.
        workers: number of threads that read ahead, and of images read ahead; 0 reads each image when needed.

    Each of several processes has every n-th item; `names` lists the names of all items.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Any], Any],
        finished: Callable[[Any], bool] | None = None,
        workers: int = 0,
    ) -> None:
        self.names = [str(item["name"]) for item in data]
        found = list(data)[rank() :: world_size()]
        self.data = found if finished is None else [item for item in found if not finished(item)]
        self.left_out = len(found) - len(self.data)
        self.transform = transform
        self.workers = workers
        self.refused: list[str] = []
        self.reasons: dict[str, str] = {}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.refused, self.reasons = [], {}
        for number, (item, ready_item) in enumerate(self._read(), start=1):
            try:
                ready = ready_item()
            except Exception as error:
                cause = user_error(error)
                if cause is None:
                    raise
                self.refused.append(str(cause))
                self.reasons[str(item["name"])] = str(cause)
                logger.warning("refused   %s", cause)
                continue
            logger.info("%d of %d   %s", number, len(self.data), one_line(item["name"]))
            yield ready

    def _read(self) -> Iterator[tuple[Mapping[str, Any], Callable[[], Any]]]:
        """Yield each item, and a function that returns or raises the outcome of reading it."""
        if not self.workers:
            for item in self.data:
                yield item, partial(self.transform, dict(item))
            return
        waiting: deque[tuple[Mapping[str, Any], Future[Any]]] = deque()
        items = iter(self.data)
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                while True:
                    for item in islice(items, self.workers + 1 - len(waiting)):
                        waiting.append((item, pool.submit(self.transform, dict(item))))
                    if not waiting:
                        return
                    item, found = waiting.popleft()
                    yield item, found.result
            finally:
                for _, found in waiting:
                    found.cancel()


def infer(
    evaluator: Evaluator,
    dataset: ReadableImages,
    output_dir: str,
    formats: Sequence[str] = (),
    saving: SaveSegmentationd | None = None,
) -> None:
    """Run the evaluator over every readable image and log where the results are.

    Args:
        formats: formats of `transforms.outputs.formats`; with "findings" that table also lists refused images.
        saving: writer of the results, which receives the path of the findings table and is waited for.

    Raises:
        UserError: no image could be read, or results cannot be written or would replace manual annotations.
    """
    results = as_path(output_dir)
    if _is_all_done(dataset):
        _merge_tables(results, dataset, formats)
        return
    if "disagreement" in formats and not isinstance(evaluator.network, Ensemble):
        raise UserError("--formats: disagreement needs an ensemble; give --members, or leave it out")
    _check_results(results, dataset.data, formats)
    names = [str(item["name"]) for item in dataset.data]
    table = table_for(results, names, rank(), world_size()) if "findings" in formats else FILE
    if saving is not None:
        saving.table = table
    # messages may hold identifiers: the reading threads silence and restore them independently, so silence all here
    silence = quiet() if dataset.workers else nullcontext()
    with silence, computing(), errors_in_one_line(results), naming_case(evaluator):
        take_up()
        if dataset.data:
            evaluator.run()
        if saving is not None:
            saving.finish()
    for name, reason in dataset.reasons.items() if "findings" in formats else ():
        put_refused(results, name, reason, table)
    refused = gathered(dataset.refused)
    _merge_tables(results, dataset, formats)
    done, left_out = (sum(gathered([n])) for n in (len(dataset.data) - len(dataset.refused), dataset.left_out))
    if not done and not left_out:
        raise UserError(f"none of {len(refused)} files could be segmented; first: {refused[0]}")
    more = f", {len(refused)} files refused (reasons above)" if refused else ""
    logger.info("%d images segmented%s: %s", done, more, output_dir)


def _merge_tables(folder: Path, dataset: ReadableImages, formats: Sequence[str]) -> None:
    """Merge the findings of all processes into one table; call it when no process writes any more."""
    if "findings" in formats and is_main():
        merge_parts(folder, dataset.names)


def _is_all_done(dataset: ReadableImages) -> bool:
    """Return whether all images have their results, in all processes, and log it."""
    left_out, left = (sum(gathered([n])) for n in (dataset.left_out, len(dataset.data)))
    if left_out:
        logger.info("%d images already have results and are skipped", left_out)
    return bool(left_out) and not left


def _check_results(folder: Path, items: Sequence[Mapping[str, Any]], formats: Sequence[str]) -> None:
    """Check that results can be written, before the first image instead of after the last.

    Raises:
        UserError: as `infer`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"--results_dir {folder}: cannot be written to ({error.strerror})") from None
    made = [folder / f"{item['name']}{ENDINGS['geojson']}" for item in items] if "geojson" in formats else []
    drawn = [path for path in made if drawn_by_hand(path)]
    if drawn:
        raise UserError(
            f"{drawn[0]}: drawn or corrected by hand, and would be replaced ({len(drawn)} such files); "
            "give another --results_dir, or move them away"
        )
