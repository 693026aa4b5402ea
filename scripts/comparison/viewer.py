"""Interactive part of the comparison page: viewer, search, sorting, and choice of light or dark.

Without JavaScript the page has all tables and pictures; with it, a viewer shows the pictures of the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

VIEWER_STYLE = """
.tools { display: flex; flex-wrap: wrap; gap: .6rem 1.2rem; align-items: end; margin: .8rem 0; }
.tools label { display: block; } .tools input, .tools select, .tools button { font: inherit; max-width: 100%; }
.tools input[type=range] { width: min(24rem, 80vw); display: block; }
.stops { display: flex; justify-content: space-between; font-size: .85rem; width: min(24rem, 80vw); }
.panes { display: flex; flex-wrap: wrap; gap: 1rem; }
.panes figure { margin: 0; flex: 1 1 18rem; max-width: 32rem; }
.panes canvas { width: 100%; height: auto; image-rendering: pixelated; border-radius: .25rem; background: #000; }
th button { font: inherit; font-weight: inherit; color: inherit; }
th button { background: none; border: 0; padding: 0; cursor: pointer; }
th button::after { content: "\\2195"; opacity: .5; padding-left: .25rem; }
th[aria-sort=ascending] button::after { content: "\\2191"; opacity: 1; }
th[aria-sort=descending] button::after { content: "\\2193"; opacity: 1; }
img.opens { cursor: zoom-in; }
dialog { border: 0; border-radius: .5rem; padding: .6rem; max-width: 98vw; max-height: 98vh; cursor: zoom-out; }
dialog::backdrop { background: #000c; } dialog p { margin: 0 0 .4rem; }
dialog img { display: block; min-width: min(94vw, 80vh); max-width: 94vw; max-height: 88vh; object-fit: contain; }
dialog img { image-rendering: pixelated; }
:focus-visible { outline: 3px solid #0072b2; outline-offset: 2px; }
[hidden] { display: none !important; }
@media print {
  .tools, .viewer { display: none !important; }
  body { max-width: none; font-size: 10pt; padding: 0; }
  .wide { overflow: visible; max-height: none; }
  table { font-size: 8pt; } th, td { white-space: normal; padding: .15rem .3rem; }
  th button::after { content: ""; }
  tr, figure, .case, img.chart { break-inside: avoid; } h2, h3 { break-after: avoid; } img.chart { min-width: 0; }
}
"""

SCRIPT = """
"use strict";
const $ = (all, from = document) => [...from.querySelectorAll(all)];
$(".live").forEach(part => { part.hidden = false; });

$("#scheme").forEach(choice => choice.addEventListener("change", () => {
  document.documentElement.style.colorScheme = choice.value;
}));

$("#search").forEach(field => field.addEventListener("input", () => {
  const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
  const fits = part => words.every(word => part.textContent.toLowerCase().includes(word));
  let shown = 0;
  $("tbody tr, .case-group").forEach(part => { part.hidden = !fits(part); shown += !part.hidden; });
  document.getElementById("found").textContent = words.length ? `${shown} rows and images` : "";
}));

const number = text => {
  const found = /^[<>\\s]*([+\\u2212-]?\\d[\\d.]*(?:e[+-]?\\d+)?)/i.exec(text.trim());
  return found ? Number(found[1].replace("\\u2212", "-")) : NaN;
};
$("th").forEach(head => {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
    const down = head.getAttribute("aria-sort") !== "descending";
    $("th", table).forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = [...body.rows].map(row => {
      const text = row.cells[column].textContent;
      return { row, text, value: number(text) };
    });
    const sign = down ? -1 : 1;
    keyed.sort((a, b) => isNaN(a.value) || isNaN(b.value)
      ? isNaN(a.value) - isNaN(b.value) || sign * a.text.localeCompare(b.text)
      : sign * (a.value - b.value));
    body.append(...keyed.map(each => each.row));
  });
});

$("#full-size").forEach(dialog => {
  const shown = dialog.querySelector("img"), words = dialog.querySelector("p");
  $("img.opens").forEach(image => {
    image.tabIndex = 0;
    image.setAttribute("role", "button");
    const open = () => {
      shown.src = image.src; shown.alt = words.textContent = image.alt;
      dialog.showModal();
    };
    image.addEventListener("click", open);
    image.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); }
    });
  });
  dialog.addEventListener("click", () => dialog.close());
});

$(".viewer").forEach(viewer => {
  const images = viewer.querySelector(".which-image"), models = viewer.querySelector(".which-model");
  const slider = viewer.querySelector("input[type=range]"), said = viewer.querySelector("output");
  const [filled, outlined] = $("canvas", viewer), groups = $(".case-group", viewer.parentElement);
  const picture = head => $("img", groups[images.value]).find(image => image.dataset.head === head);
  const pixels = image => {
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  };
  const classes = viewer.dataset.classes.split(" ");
  const hex = value => value.toString(16).padStart(2, "0");
  const classOf = (data, at) =>
    classes.indexOf("#" + hex(data[4 * at]) + hex(data[4 * at + 1]) + hex(data[4 * at + 2]));
  const outline = (context, image, scale, dashed) => {
    const { width, height, data } = pixels(image), same = (a, b) =>
      data[4 * a] === data[4 * b] && data[4 * a + 1] === data[4 * b + 1] && data[4 * a + 2] === data[4 * b + 2];
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      const here = y * width + x;
      const right = x + 1 < width && !same(here, here + 1), below = y + 1 < height && !same(here, here + width);
      if (!right && !below) continue;
      const beside = right ? here + 1 : here + width;  // the later class, as a tumor in tissue, has its outline
      const own = classes[Math.max(classOf(data, here), classOf(data, beside))] || "#fff";
      context.fillStyle = dashed && (x + y) % 8 > 3 ? "#fff" : own;
      if (right) context.fillRect((x + 1) * scale - 2, y * scale, 4, scale);
      if (below) context.fillRect(x * scale, (y + 1) * scale - 2, scale, 4);
    }
  };
  const draw = () => {
    const image = picture("image"), truth = picture("truth"), model = picture(models.value);
    const base = image || truth, at = Number(slider.value) / 100, layer = at < 0 ? truth : model;
    const scale = Math.max(1, Math.round(900 / base.naturalHeight));
    for (const canvas of [filled, outlined]) {
      canvas.width = base.naturalWidth * scale; canvas.height = base.naturalHeight * scale;
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = false;
      if (image) context.drawImage(image, 0, 0, canvas.width, canvas.height);
    }
    if (layer && at) {
      const context = filled.getContext("2d");
      context.globalAlpha = Math.abs(at);
      context.drawImage(layer, 0, 0, filled.width, filled.height);
    }
    try {
      if (truth) outline(outlined.getContext("2d"), truth, scale, false);
      if (model) outline(outlined.getContext("2d"), model, scale, true);
    } catch { outlined.closest("figure").hidden = true; }  // pictures outside the file, which may not be read
    const name = models.selectedOptions[0].textContent, share = `${Math.abs(Number(slider.value))} %`;
    said.textContent = at === 0 ? "image" : `${at < 0 ? "truth" : name}, ${share}${model ? "" : " (no picture)"}`;
    slider.setAttribute("aria-valuetext", said.textContent);
    const what = `${images.selectedOptions[0].textContent}: ${said.textContent}`;
    filled.setAttribute("aria-label", what);
    outlined.setAttribute("aria-label", `${what}; outlines, truth solid, ${name} dashed with white`);
  };
  const step = (select, by) => {
    const last = select.options.length - 1;
    select.selectedIndex = Math.min(last, Math.max(0, select.selectedIndex + by));
  };
  const keys = {
    1: () => { slider.value = -100; }, 2: () => { slider.value = 0; }, 3: () => { slider.value = 100; },
    n: () => step(images, 1), p: () => step(images, -1), m: () => step(models, 1), b: () => step(models, -1),
  };
  viewer.addEventListener("keydown", event => {
    if (event.ctrlKey || event.altKey || event.metaKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
    draw();
  });
  [images, models, slider].forEach(field => field.addEventListener("input", draw));
  Promise.all($("img", viewer.parentElement).map(image => image.decode().catch(() => {}))).then(draw);
});
"""


FULL_SIZE = '<dialog id="full-size"><p></p><img alt=""><button type="button">Close</button></dialog>'
"""Dialog for an enlarged picture."""


def page_tools() -> str:
    """Return search and choice of light or dark, hidden without JavaScript."""
    schemes = (("light dark", "as the system"), ("light", "light"), ("dark", "dark"))
    options = "".join(f'<option value="{value}">{text}</option>' for value, text in schemes)
    return (
        '<div class="tools live" role="search" aria-label="Search and colors" hidden>'
        '<label>Search models and images <input type="search" id="search"></label>'
        f'<label>Colors <select id="scheme">{options}</select></label>'
        '<span id="found" role="status"></span></div>'
    )


def viewer(number: int, case_names: Sequence[str], models: Sequence[str], colours: Sequence[str]) -> str:
    """Return the viewer of a data set's images; `number` identifies it on the page, `colours` are the class colors."""
    images = "".join(f'<option value="{index}">{escape(name)}</option>' for index, name in enumerate(case_names))
    rows = "".join(f'<option value="{escape(name)}">{escape(name)}</option>' for name in models)
    return (
        f'<div class="viewer live" role="group" aria-label="Viewer {number}" data-classes="{" ".join(colours)}" hidden>'
        '<div class="tools">'
        f'<label>Image <select class="which-image">{images}</select></label>'
        f'<label>Model <select class="which-model">{rows}</select></label>'
        f'<div><label>Layer <output>image</output><input type="range" min="-100" max="100" step="5" value="50"></label>'
        '<div class="stops" aria-hidden="true"><span>truth</span><span>image</span><span>model</span></div></div></div>'
        "<p>Keys in the viewer: <kbd>1</kbd> truth, <kbd>2</kbd> image, <kbd>3</kbd> model, <kbd>n</kbd> and "
        "<kbd>p</kbd> next and previous image, <kbd>m</kbd> and <kbd>b</kbd> next and previous model.</p>"
        '<div class="panes">'
        '<figure><canvas role="img"></canvas><figcaption>Filled</figcaption></figure>'
        '<figure><canvas role="img"></canvas>'
        "<figcaption>Outlines: truth solid, model dashed with white</figcaption></figure>"
        "</div></div>"
    )
