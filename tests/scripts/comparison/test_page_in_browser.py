"""The page in headless Chromium: no violations found by axe-core, wide and narrow, light and dark; its script works.

axe-core is in the package axe-core-python (`.[dev]`); `MAMMOSEG_AXE` names the file of another release, such as
node_modules/axe-core/axe.min.js after `npm install axe-core`.
"""

from __future__ import annotations

import html
import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines.scoring.lesion_files import LesionResult
from engines.scoring.matching import FALSE, ImageLesions, Judged, Lesion, Rule
from scripts.comparison.image_strips import Case
from scripts.comparison.models import Model
from scripts.comparison.page import page
from scripts.comparison.store import Result
from scripts.comparison.table import Comparison, compare
from transforms.palette import colour

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
NARROW = 400
"""Columns of a frame with the same page; Chromium has no window of fewer than 500."""

CHECK = """
const errors = [];
window.addEventListener("error", event => errors.push(event.message));
const checked = async () => {
  await new Promise(done => setTimeout(done, 200));
  const found = { errors, width: innerWidth, scroll: document.documentElement.scrollWidth };
  for (const scheme of ["light", "dark"]) {
    document.documentElement.style.colorScheme = scheme;
    const { violations, passes } = await axe.run();
    found[scheme] = violations.map(each => `${each.id}: ${each.nodes[0].html}`);
    found.passes = passes.map(each => each.id);
  }
  return found;
};
"""
INNER = 'window.addEventListener("load", async () => parent.postMessage(await checked(), "*"));'
OUTER = """
window.addEventListener("load", async () => {
  const wide = await checked(), viewer = document.querySelector(".viewer"), search = document.getElementById("search");
  const words = () => [...document.querySelectorAll("tbody")[0].rows].map(row => row.cells[0].textContent);
  document.querySelector("th button").click();
  wide.sorted = words();
  viewer.dispatchEvent(new KeyboardEvent("keydown", { key: "1" }));
  wide.shown = viewer.querySelector("output").textContent;
  const canvas = viewer.querySelector("canvas");
  wide.pixel = [...canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data];
  search.value = "deeplabv3";
  search.dispatchEvent(new Event("input"));
  wide.left = [...document.querySelectorAll("tbody")[0].rows].filter(row => !row.hidden).length;
  window.addEventListener("message", event => {
    const said = document.createElement("pre");
    said.id = "said";
    said.textContent = JSON.stringify([wide, event.data]);
    document.body.replaceChildren(said);
  });
  const frame = document.createElement("iframe");
  Object.assign(frame, { width: COLUMNS, height: 800, title: "narrow", srcdoc: TEXT });
  document.body.append(frame);
});
"""


def axe() -> Path | None:
    """Return the file of axe-core, if available."""
    if given := os.environ.get("MAMMOSEG_AXE"):
        return Path(given)
    found = importlib.util.find_spec("axe_core_python")
    return Path(str(found.origin)).with_name("axe.min.js") if found else None


def compared() -> Comparison:
    """Two rows with lesions, of four subjects."""

    def result(name: str, title: str, place: int, shared: int) -> Result:
        images = tuple(
            ImageLesions(
                f"s{n}", f"s{n}_L", 10, 10, shared + n % 2,
                (Lesion(10, 0.01, None, (0, 0, 3, 3), 0.9 if n else None, 0.5),),
                (Judged(0.8, 5, (5, 5, 8, 8), FALSE, None),),
            )
            for n in range(4)
        )  # fmt: skip
        subjects = {f"s{n}": np.array([[80 + n, 10], [5, shared]]) for n in range(4)}
        return Result(
            name, f"run {name}", (name,), "validation", ("background", "tumor"), "tiny", "d", subjects,
            folds=(subjects,), lesions=LesionResult(("tumor",), Rule(), images), model=Model(name, title, (place, 0)),
        )  # fmt: skip

    return compare([result("unet", "U-Net", 0, 5), result("deeplabv3", "DeepLabv3", 1, 8)], 100, 0)


def written(folder: Path) -> str:
    """The page of a comparison with two images."""
    chart = folder / "chart-tiny.png"
    Image.new("RGB", (900, 300), "white").save(chart)
    gray = Image.new("RGB", (40, 60), (90, 90, 90))
    square = np.zeros((60, 40), np.uint8)
    square[20:40, 10:30] = 1
    layer = Image.fromarray(colour(square, ["background", "tumor"]))
    pictures = {"image": gray, "truth": layer, "U-Net": layer, "DeepLabv3": layer}
    cases = [Case(f"s{n}_L", pictures, ("U-Net: missed",)) for n in range(2)]
    return page([(compared(), chart, {}, cases)], ["Made for a test."])


def with_script(text: str, script: str) -> str:
    """The page with one more script."""
    return text.replace("</body>", f"<script>{script}</script></body>")


def test_no_violations_and_a_script_that_works(tmp_path: Path) -> None:
    browser, tool = next(filter(None, map(shutil.which, BROWSERS)), None), axe()
    if browser is None:
        pytest.skip("there is no Chromium (apt-get install chromium)")
    if tool is None:
        pytest.skip("there is no axe-core: an older environment (pip install axe-core-python)")
    text = written(tmp_path)
    library = tool.read_text(encoding="utf-8") + CHECK
    narrow = json.dumps(with_script(text, library + INNER)).replace("</", "<\\/")
    outer = OUTER.replace("COLUMNS", str(NARROW)).replace("TEXT", narrow)
    (tmp_path / "index.html").write_text(with_script(text, library + outer), encoding="utf-8")
    wide, small = shown(browser, tmp_path)
    for found in (wide, small):
        assert (found["light"], found["dark"], found["errors"]) == ([], [], [])
        assert {"color-contrast", "label", "image-alt"} <= set(found["passes"])
        assert found["scroll"] <= found["width"]
    assert small["width"] == NARROW
    assert wide["sorted"] == ["U-Net", "DeepLabv3", "all background"]
    assert wide["shown"] == "truth, 100 %"
    assert wide["pixel"] == [*colour(np.ones((1, 1), np.uint8), ["background", "tumor"])[0, 0], 255]
    assert wide["left"] == 1


def shown(browser: str, folder: Path) -> list[dict[str, Any]]:
    """Return the findings of the script in the page."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900", "--virtual-time-budget=60000"]
    own = [f"--user-data-dir={folder / 'browser'}", "--no-first-run", "--disable-background-networking"]
    command = [browser, *options, *own, "--dump-dom", (folder / "index.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    said = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    assert said, done.stderr[-1000:]
    found: list[dict[str, Any]] = json.loads(html.unescape(said[1]))
    return found
