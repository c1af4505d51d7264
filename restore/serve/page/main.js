// The page: a photo, what is marked in it, what is asked, and what came of it.

import { Brush } from "./brush.js";
import { Marks } from "./marks.js";
import { bytes, model, post, run } from "./server.js";
import { Layer, View } from "./view.js";

const $ = (id) => document.getElementById(id);
const before = new Layer($("before"), $("before-detail")), after = new Layer($("after"), $("after-detail"));
const view = new View($("stage"), $("world"), [before, after]);
const marks = new Marks($("marks"));
const brush = new Brush(view, marks, { stage: $("stage"), ring: $("ring"), cursor: $("cursor"), rubber: $("rubber") },
  { changed: update, object: markObject });
const state = { file: null, results: [], chosen: null, work: null };

// A photo

async function open(file) {
  if (!file) return;
  state.work?.abort();
  say(`Reading ${file.name} …`);
  try {
    await before.show(file);
  } catch {
    return say(`This browser cannot show ${file.name}: open a JPEG, PNG, WebP or BMP, or use the command line.`, true);
  }
  state.file = file;
  after.hide();
  discard();
  marks.start(before.size, before.scale);
  setSize($("size").value);
  brush.at = null;
  $("world").hidden = $("tools").hidden = false;
  $("hint").hidden = true;
  view.start(before.size);
  $("facts").textContent = `${file.name}, ${before.size.width} × ${before.size.height}`;
  say("Say what should go, or mark it.");
  update();
}

$("open").addEventListener("change", (e) => { open(e.target.files[0]); e.target.value = ""; });
addEventListener("paste", (e) => open([...e.clipboardData.files].find((f) => f.type.startsWith("image/"))));
addEventListener("dragover", (e) => { e.preventDefault(); $("stage").classList.add("over"); });
addEventListener("dragleave", () => $("stage").classList.remove("over"));
addEventListener("drop", (e) => { e.preventDefault(); $("stage").classList.remove("over"); open(e.dataTransfer.files[0]); });

// Tools

function choose(tool) {
  brush.choose(tool);
  for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-checked", button.dataset.tool === tool);
}

function setSize(value) {
  $("size").value = value;
  brush.level = Number($("size").value);
}

for (const button of document.querySelectorAll("[data-tool]")) button.addEventListener("click", () => choose(button.dataset.tool));
$("size").addEventListener("input", (e) => setSize(e.target.value));
const act = {
  undo: () => marks.undo(), redo: () => marks.redo(),
  invert: () => marks.add({ kind: "invert" }), clear: () => marks.add({ kind: "clear" }),
  in: () => view.scale(1.5), out: () => view.scale(1 / 1.5), fit: () => view.fit(),
};
for (const [id, does] of Object.entries(act)) $(id).addEventListener("click", () => { does(); update(); });

addEventListener("keydown", (e) => {
  if ((e.ctrlKey || e.metaKey) && e.key === "Enter") return $("ask").requestSubmit();
  if (e.key === "Escape") return state.work?.abort();
  if (!before.blob || e.target.matches("input:not([type=range]):not([type=checkbox]), select")) return;
  const key = e.key.toLowerCase();
  if (e.ctrlKey || e.metaKey) {
    if (key === "z") (e.shiftKey ? act.redo : act.undo)();
    else if (key === "y") act.redo();
    else return;
    e.preventDefault();
  } else {
    const tools = { b: "brush", e: "eraser", r: "box", o: "object", h: "move" };
    const does = { i: act.invert, "+": act.in, "=": act.in, "-": act.out, 0: act.fit,
      "[": () => setSize(brush.value - 4), "]": () => setSize(brush.value + 4) };
    if (key in tools) choose(tools[key]);
    else if (key in does) does[key]();
    else return;
  }
  update();
});

async function markObject(x, y) {
  say("Looking for the object there …");
  await work(async (signal) => {
    const found = await post("/v1/segment", { image: state.file, point: `${Math.floor(x)},${Math.floor(y)}` }, signal);
    const bitmap = await createImageBitmap(bytes(found.mask_b64, "image/png"));
    const small = await createImageBitmap(bitmap, { resizeWidth: marks.canvas.width, resizeHeight: marks.canvas.height });
    marks.add({ kind: "object", bitmap, small });
    say(`Marked: ${found.pixels.toLocaleString()} pixels.`);
  });
}

// Work

/** Something that takes a while and can be stopped; one at a time. */
async function work(doing) {
  state.work?.abort();
  const control = (state.work = new AbortController());
  update();
  try {
    await doing(control.signal);
  } catch (error) {
    if (error.name === "AbortError") say("Stopped.");
    else if (error.code === "unsure") doubt(error.candidates);
    else say(error.message, true);
  } finally {
    if (state.work === control) state.work = null;
    update();
  }
}

async function start(fields) {
  discard();
  await work(async (signal) => {
    say("Sending …");
    const { results, notes } = await run({ image: state.file, output_format: "original", ...fields }, told, signal);
    state.results = results;
    await list();
    const one = results[0];
    if (one.nothing) return say(`Nothing to restore: ${one.nothing}.`);
    const best = one.par_hole === undefined ? "" : ` Looks wrong: ${percent(one.par_hole)} of the place.`;
    say([`Done in ${results.reduce((sum, r) => sum + r.seconds, 0).toFixed(1)} s.${best}`, one.sentence, ...notes].filter(Boolean).join(" "));
  });
}

async function edit(sure) {
  if (!state.file || $("run").disabled) return;
  const mask = marks.empty ? null : await marks.png();
  const fields = { type: "edit", prompt: $("prompt").value, n: $("draft").checked ? 1 : $("variants").value, passes: $("passes").value, seed: $("seed").value };
  await start({ ...fields, mask, draft: $("draft").checked, sure });
}

$("ask").addEventListener("submit", (e) => { e.preventDefault(); edit(true); });
$("anyway").addEventListener("click", () => edit(false));
$("enhance").addEventListener("submit", (e) => {
  e.preventDefault();
  start({ type: "enhance", task: $("task").value, scale: $("task").value === "super-resolution" ? $("scale").value : "" });
});
$("task").addEventListener("change", () => { $("scale-label").hidden = $("task").value !== "super-resolution"; });
$("cancel").addEventListener("click", () => state.work?.abort());

function told(job) {
  const step = job.progress;
  if (step?.total) { $("bar").max = step.total; $("bar").value = step.done; } else $("bar").removeAttribute("value");
  say(job.status === "queued" ? "Waiting for its turn …" : step ? `Step ${step.done} of at most ${step.total}` : "Working …");
  tell(job.passes.filter((p) => p.par_hole !== undefined));
}

/** A table of passes. */
function tell(passes) {
  $("passes-told").hidden = !passes.length;
  $("passes-told").tBodies[0].replaceChildren(...passes.map((p) => {
    const row = document.createElement("tr");
    for (const text of [p.index, percent(p.par_hole), p.quality.toFixed(0), p.accepted ? "kept" : "rolled back"]) row.insertCell().textContent = text;
    return row;
  }));
}

function doubt(candidates) {
  say(`Not sure that this is meant (solid frame; score ${candidates[0].score.toFixed(2)}). Go on, or mark the place yourself.`, true);
  $("doubt").hidden = false;
  $("boxes").replaceChildren(...candidates.map(({ box: [x, y, w, h], score, chosen }) => {
    const shown = document.createElement("div");
    Object.assign(shown.style, { left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${h}px` });
    shown.title = `score ${score}`;
    shown.classList.toggle("chosen", chosen);
    return shown;
  }));
}

// Results

async function list() {
  const thumbs = await Promise.all(state.results.map(async (result, i) => {
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    const bitmap = await createImageBitmap(result.blobs.image, { resizeWidth: 320, resizeQuality: "medium" });
    canvas.width = bitmap.width; canvas.height = bitmap.height;
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    button.type = "button";
    button.setAttribute("role", "radio");
    button.append(canvas, `Variant ${i + 1}: ${result.par_hole === undefined ? "" : `PAR ${percent(result.par_hole)}, `}quality ${result.quality.toFixed(0)}`);
    button.addEventListener("click", () => pick(i));
    return button;
  }));
  $("thumbs").replaceChildren(...thumbs);
  $("results").hidden = $("compare").hidden = $("edge").hidden = false;
  await pick(0);
}

async function pick(i) {
  const result = (state.chosen = state.results[i]);
  for (const [k, button] of [...$("thumbs").children].entries()) button.setAttribute("aria-checked", k === i);
  await after.show(result.blobs.image);
  tell(result.passes.filter((p) => p.par_hole !== undefined));
  $("artifacts").src = result.blobs.artifacts ? URL.createObjectURL(result.blobs.artifacts) : "";
  $("show-artifacts").hidden = !result.blobs.artifacts;
  slide();
  view.settle();
  update();
}

function slide() {
  $("after-box").style.clipPath = `inset(0 0 0 ${$("slider").value}%)`;
  $("edge").style.left = `${$("slider").value}%`;
  $("slider").setAttribute("aria-valuetext", `${$("slider").value} % before`);
}

function discard() {
  state.results = [];
  state.chosen = null;
  after.hide();
  if ($("artifacts").src) URL.revokeObjectURL($("artifacts").src);
  $("artifacts").hidden = true;
  $("show-artifacts").setAttribute("aria-pressed", false);
  $("boxes").replaceChildren();
  $("thumbs").replaceChildren();
  for (const id of ["results", "compare", "edge", "doubt", "passes-told"]) $(id).hidden = true;
  update();
}

function named(blob, word) {
  const dot = state.file.name.lastIndexOf("."), stem = dot > 0 ? state.file.name.slice(0, dot) : state.file.name;
  const suffix = { "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/tiff": "tif", "image/bmp": "bmp", "text/html": "html" };
  return `${stem}.${word}.${suffix[blob.type.split(";")[0]] ?? "png"}`;
}

function save(blob, word) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = named(blob, word);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

$("slider").addEventListener("input", slide);
$("download").addEventListener("click", () => save(state.chosen.blobs.image, "restored"));
$("report").addEventListener("click", () => save(state.chosen.blobs.report, "report"));
$("again").addEventListener("click", () => {
  const { image } = state.chosen.blobs;
  open(new File([image], named(image, "restored").replace(".restored.restored", ".restored"), { type: image.type }));
});
$("drop").addEventListener("click", () => { discard(); say(""); });
$("show-artifacts").addEventListener("click", () => {
  const on = $("artifacts").hidden;
  $("artifacts").hidden = !on;
  $("show-artifacts").setAttribute("aria-pressed", on);
});

// What is shown

function update() {
  const busy = Boolean(state.work), loaded = Boolean(state.file);
  $("undo").disabled = !marks.done.length;
  $("redo").disabled = !marks.undone.length;
  $("run").disabled = busy || !loaded || (marks.empty && !$("prompt").value.trim());
  $("restore").disabled = busy || !loaded;
  $("progress").hidden = !busy;
  $("marks").hidden = Boolean(state.chosen);
  if (state.chosen) $("report").hidden = !state.chosen.blobs.report;
}

function say(text, bad = false) {
  $("say").textContent = text;
  $("say").classList.toggle("bad", bad);
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

$("prompt").addEventListener("input", update);
choose("brush");
model().then((id) => { document.title = `restore (${id})`; }).catch((error) => say(error.message, true));
