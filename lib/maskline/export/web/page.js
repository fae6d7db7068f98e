// What the page does: an image in, its mask on the screen and in files.
import { canvasIsExact, contextOf, describe, readImage, Refusal } from "./image.js";
import { fetched, Model } from "./model.js";
import { labelsPng } from "./png.js";

const $ = (id) => document.getElementById(id);
const RUNTIME = "ort-wasm-simd-threaded.wasm";

let model = null;
let shown = null; // { name, labels, width, height } of the image on the screen
let busy = false;
const hidden = new Set(); // classes that are switched off

async function start() {
  if (typeof WebAssembly !== "object" || typeof CompressionStream !== "function") {
    throw new Refusal("This browser lacks what the page needs (WebAssembly, CompressionStream); take a current Chrome, Edge, Firefox or Safari");
  }
  if (!canvasIsExact()) {
    throw new Refusal("This browser changes pixels that pages read, against fingerprinting, so masks would be of other images; allow this page to read canvases");
  }
  const came = {};
  const told = (name) => (count, total) => {
    came[name] = [count, total];
    const sums = Object.values(came).reduce((sum, pair) => [sum[0] + pair[0], sum[1] + pair[1]], [0, 0]);
    progress(sums[1] ? sums[0] / sums[1] : null);
    say(`Loading the model: ${(sums[0] / 2 ** 20).toFixed(1)} MiB`);
  };
  const parts = await Promise.all(["model.onnx", RUNTIME].map((name) => fetched(name, told(name))));
  model = new Model(...parts);
  say("Starting the model");
  progress(null);
  await model.start();
  const { about } = model;
  if (firstIsClear(about)) hidden.add(0);
  $("facts").replaceChildren(...facts(about).map((fact) => element("span", fact)));
  listClasses();
  progress();
  $("choose").disabled = $("photo").disabled = false;
  document.body.dataset.state = "ready";
  say("Ready");
  const address = new URLSearchParams(location.search).get("image");
  if (address) await opened(address);
}

/** Open an image of the page's own address: ?image=photo.jpg */
async function opened(address) {
  let content;
  try {
    content = await fetched(address);
  } catch {
    complain(`${address}: cannot be fetched from this address`);
    return;
  }
  await segment(new File([content], address.split("/").pop()));
}

/** Show an image file's mask, or one line on why there is none. */
async function segment(file) {
  if (!model || busy) return;
  busy = true;
  complain("");
  const name = file.name || "pasted image";
  document.body.dataset.state = "busy";
  say(`Reading ${name}`);
  progress(null);
  try {
    const { full, seen, input } = await readImage(file, model.about.reading ?? {}, Number($("longest").value));
    const begin = performance.now();
    const clock = setInterval(() => say(`${name}: ${Math.round((performance.now() - begin) / 1000)} s`), 1000);
    say(`Segmenting ${name}`);
    $("stop").hidden = false;
    let labels;
    try {
      labels = await model.run(input, seen.height, seen.width);
    } catch (error) {
      if (error.message === "stopped") throw new Refusal("stopped");
      const size = `${seen.width} x ${seen.height} px`;
      const reason = /bad_alloc|memory/i.test(error.message) ? "out of memory" : firstLine(error);
      throw new Refusal(`the model cannot take it at ${size} (${reason}); choose a smaller longest side`);
    } finally {
      clearInterval(clock);
    }
    const seconds = (performance.now() - begin) / 1000;
    shown = { name, width: full.width, height: full.height, labels: enlarged(labels, seen, full) };
    showImage(full);
    listClasses();
    const reduced = seen === full ? "" : `, seen at ${seen.width} x ${seen.height}`;
    say(`${name}: ${full.width} x ${full.height} px${reduced}, ${seconds.toFixed(seconds < 10 ? 1 : 0)} s`);
    document.body.dataset.state = "shown";
  } catch (error) {
    complain(`${name}: ${error instanceof Refusal ? error.message : firstLine(error)}`);
    document.body.dataset.state = shown ? "shown" : "ready";
    say(shown ? `Still shown: ${shown.name}` : "Ready");
  } finally {
    busy = false;
    $("stop").hidden = true;
    progress();
  }
}

/** Return labels at the full image's size, by nearest neighbor. */
function enlarged(labels, seen, full) {
  if (seen.width === full.width && seen.height === full.height) return labels;
  const result = new labels.constructor(full.width * full.height);
  for (let y = 0, i = 0; y < full.height; y++) {
    const row = Math.floor(((y + 0.5) * seen.height) / full.height) * seen.width;
    for (let x = 0; x < full.width; x++, i++) result[i] = labels[row + Math.floor(((x + 0.5) * seen.width) / full.width)];
  }
  return result;
}

function showImage(image) {
  for (const canvas of [$("image"), $("mask")]) Object.assign(canvas, { width: image.width, height: image.height });
  $("image").getContext("2d").putImageData(image, 0, 0);
  $("view").style.setProperty("--ratio", image.width / image.height);
  $("view").classList.toggle("small", Math.max(image.width, image.height) < 512);
  $("view").hidden = false;
  $("prompt").hidden = true;
  $("choose").textContent = "Choose another image";
  $("save-classes").disabled = $("save-overlay").disabled = false;
  paint();
}

/** Draw the mask: the classes that are switched on, in their colors. */
function paint() {
  if (!shown) return;
  const colors = Uint32Array.from(model.about.palette, ([red, green, blue], id) =>
    hidden.has(id) ? 0 : (255 << 24) | (blue << 16) | (green << 8) | red);
  const image = new ImageData(shown.width, shown.height);
  const pixels = new Uint32Array(image.data.buffer);
  shown.labels.forEach((id, i) => { pixels[i] = colors[id]; });
  $("mask").getContext("2d").putImageData(image, 0, 0);
}

function listClasses() {
  const names = model.about.class_names;
  const shares = new Float64Array(names.length);
  shown?.labels.forEach((id) => { shares[id] += 1; });
  const ids = [...names.keys()].sort((a, b) => shares[b] - shares[a] || a - b);
  const [there, absent] = [ids.filter((id) => !shown || shares[id]), ids.filter((id) => shown && !shares[id])];
  const pixels = shown ? shown.labels.length : 1;
  $("classes").replaceChildren(...there.map((id) => row(id, shown ? shares[id] / pixels : null)));
  $("absent").hidden = !absent.length;
  $("absent").querySelector("summary").textContent = `${absent.length} not in this image`;
  $("absent").querySelector("ul").replaceChildren(...absent.map((id) => row(id, 0)));
  if (!shown) return;
  const summary = there.map((id) => `${names[id]} ${percent(shares[id] / pixels)}`).join(", ");
  $("mask").setAttribute("aria-label", `Mask of ${shown.name}: ${summary}`);
}

function row(id, share) {
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !hidden.has(id), value: id });
  box.addEventListener("change", () => {
    if (box.checked) hidden.delete(id);
    else hidden.add(id);
    paint();
  });
  const swatch = element("span", "", "swatch");
  swatch.style.background = `rgb(${model.about.palette[id].join(" ")})`;
  const label = element("label", "", "");
  label.append(box, swatch, element("span", model.about.class_names[id], "name"));
  if (share !== null) {
    const bar = element("span", "", "bar");
    bar.style.setProperty("--share", share);
    label.append(element("span", percent(share), "share"), bar);
  }
  const item = document.createElement("li");
  item.append(label);
  return item;
}

function switchAll(on) {
  model?.about.class_names.forEach((_, id) => (on ? hidden.delete(id) : hidden.add(id)));
  for (const box of document.querySelectorAll(".classes input")) box.checked = on;
  paint();
}

/** Name the class under the pointer. */
function point(event) {
  const box = $("mask").getBoundingClientRect();
  const column = Math.floor(((event.clientX - box.left) / box.width) * shown.width);
  const line = Math.floor(((event.clientY - box.top) / box.height) * shown.height);
  const id = shown.labels[line * shown.width + column];
  $("readout").textContent = id === undefined ? "" : `${model.about.class_names[id]} at row ${line}, column ${column}`;
}

async function saveClasses() {
  save(await labelsPng(shown.labels, shown.width, shown.height, model.about.palette), "classes.png");
}

function saveOverlay() {
  const context = contextOf(shown.width, shown.height);
  context.drawImage($("image"), 0, 0);
  context.globalAlpha = $("opacity").value / 100;
  context.drawImage($("mask"), 0, 0);
  context.canvas.toBlob((content) => save(content, "overlay.png"), "image/png");
}

function save(content, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = `${shown.name.replace(/\.[^.]+$/, "")}-${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function firstIsClear({ class_names: names, palette }) {
  return ["background", "_background_"].includes(names[0].toLowerCase()) || palette[0].every((value) => value === 0);
}

function facts(about) {
  const count = about.class_names.length;
  const threshold = about.threshold === undefined ? [] : [`${about.class_names[1]} from probability ${about.threshold.toPrecision(3)} on`];
  const weights = about.receipt ? [`weights ${about.receipt.slice(0, 8)}`] : [];
  return [`${count} classes`, describe(about.reading ?? {}), ...threshold, ...weights];
}

function element(kind, content, name) {
  return Object.assign(document.createElement(kind), { textContent: content, ...(name ? { className: name } : {}) });
}

function percent(share) {
  const value = share * 100;
  if (value > 0 && value < 0.05) return "< 0.1 %";
  return `${value.toFixed(1)} %`;
}

function say(line) {
  $("status").textContent = line;
}

function complain(line) {
  $("error").textContent = line;
  $("error").hidden = !line;
}

/** Show how far it is: a share, null for no one knows, nothing for the end. */
function progress(share) {
  $("progress").hidden = share === undefined;
  $("progress").classList.toggle("open", share === null);
  $("progress").style.setProperty("--share", share ?? 0);
}

function firstLine(error) {
  return String(error?.message ?? error).trim().split("\n")[0].slice(0, 200);
}

for (const [button, input] of [["choose", "file"], ["photo", "camera"]]) {
  $(button).addEventListener("click", () => $(input).click());
  $(input).addEventListener("change", () => {
    const [file] = $(input).files;
    if (file) segment(file);
    $(input).value = ""; // so that the same file can be chosen again
  });
}
$("prompt").addEventListener("click", () => $("choose").click()); // the button is what the keyboard reaches
$("stop").addEventListener("click", () => model.stop());
$("opacity").addEventListener("input", () => {
  $("mask").style.opacity = $("opacity").value / 100;
  $("opacity-value").textContent = `${$("opacity").value} %`;
});
$("mask").style.opacity = $("opacity").value / 100;
$("all").addEventListener("click", () => switchAll(true));
$("none").addEventListener("click", () => switchAll(false));
$("save-classes").addEventListener("click", saveClasses);
$("save-overlay").addEventListener("click", saveOverlay);
$("mask").addEventListener("pointermove", point);
$("mask").addEventListener("pointerdown", point);
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
for (const name of ["dragleave", "drop"]) addEventListener(name, () => document.body.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) segment(file);
});
addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) segment(file);
});

start().catch((error) => {
  document.body.dataset.state = "failed";
  complain(error instanceof Refusal ? error.message : `The model cannot be started: ${firstLine(error)}`);
  say("");
  progress();
});
