// An image file becomes the pixels that the model was trained to see, by the rule in the model's metadata: what
// example.py does in Python. What a browser would change on the way is refused.

const MOST_PIXELS = 2 * 89_478_485; // as Pillow has it
const DAMAGED = "unreadable or damaged; replace the file";

/** A file that is not taken; its message is shown as it is. */
export class Refusal extends Error {}

/**
 * Read an image file.
 *
 * @param {Blob} file PNG, JPEG or WebP.
 * @param {object} rule `reading` of the metadata; empty: RGB.
 * @param {number} [longest] Larger images are shrunk to this many pixels on their longest side; 0: none are.
 * @returns {Promise<{full: ImageData, seen: ImageData, input: Uint8Array}>} The image, what of it the model sees, and
 *   that as (height, width, channels).
 * @throws {Refusal} It does not fit the rule, or a browser cannot give its pixels as they are.
 */
export async function readImage(file, rule, longest = 0) {
  const form = inspect(new Uint8Array(await file.arrayBuffer()));
  if (form.bits > 8) throw new Refusal(`${form.bits} bits a value, of which a browser gives 8; example.py reads all. ${trainedOn(rule)}`);
  if (form.bands === 4) throw new Refusal("CMYK, which each browser converts to RGB in its own way; save it as RGB");
  checkFits(form.bands, rule);
  const stored = await decoded(form);
  const values = new Uint32Array(stored.data.buffer);
  if (values.some((value) => value >>> 24 !== 255)) {
    if (rule.alpha === "error") throw new Refusal(`transparent pixels. ${trainedOn(rule)} without alpha`);
    throw new Refusal("transparent pixels, whose colors a browser does not give as they are; save it without transparency");
  }
  const full = rule.exif === "ignore" ? stored : turned(stored, form.turn);
  const seen = shrunk(full, longest);
  const channels = rule.channels ?? [0, 1, 2];
  return { full, seen, input: scaled(select(seen, channels), channels.length, rule.image_scale) };
}

/** Say what the model was trained on, as a sentence without its end. */
export function trainedOn(rule) {
  return `The model was trained on ${describe(rule)}`;
}

/** Say how images are read, as part of a sentence. */
export function describe(rule) {
  const taken = rule.channels ? `channels ${JSON.stringify(rule.channels)}` : "RGB";
  const bands = rule.source_bands?.length ? ` of ${rule.source_bands.join(" or ")} bands` : "";
  const types = rule.source_types?.length ? ` of ${rule.source_types.join(" or ")}` : "";
  const scale = rule.image_scale ?? "error";
  const own = ofEachImage(scale) ? " of each image" : "";
  const ends = scale === "full_range" ? "all that their type holds" : `${scale[0]} to ${scale[1]}${own}`;
  return `${taken} of images${bands}${types}${scale === "error" ? "" : `, scaled from ${ends}`}`;
}

function checkFits(bands, rule) {
  const known = rule.source_bands ?? [];
  const types = rule.source_types ?? [];
  const named = rule.channels !== null && rule.channels !== undefined;
  if (named && (Math.max(...rule.channels) >= bands || (known.length && !known.includes(bands)))) {
    throw new Refusal(`${bands} band${bands > 1 ? "s" : ""}. ${trainedOn(rule)}`);
  }
  if ((rule.image_scale ?? "error") !== "error" && types.length && !types.includes("uint8")) {
    throw new Refusal(`values of uint8. ${trainedOn(rule)}`);
  }
}

/** Whether a page can read back what it drew: some browsers add noise, to tell no one apart. */
export function canvasIsExact() {
  const image = new ImageData(16, 16);
  new Uint32Array(image.data.buffer).forEach((_, i, all) => { all[i] = 0xff000000 | (i * 65793 + i * 7); });
  const context = contextOf(16, 16);
  context.putImageData(image, 0, 0);
  return context.getImageData(0, 0, 16, 16).data.every((value, i) => value === image.data[i]);
}

async function decoded({ pixels, width, height }) {
  const tooLarge = `image too large (${width} x ${height} px); cut it into tiles`;
  if (width * height > MOST_PIXELS) throw new Refusal(tooLarge);
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob(pixels), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Refusal(width * height > 2 ** 26 ? tooLarge : DAMAGED);
  }
  try {
    const context = contextOf(bitmap.width, bitmap.height);
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, bitmap.width, bitmap.height);
  } catch {
    throw new Refusal(tooLarge);
  } finally {
    bitmap.close();
  }
}

/** Return a drawing context of an own canvas. */
export function contextOf(width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  return canvas.getContext("2d", { willReadFrequently: true });
}

/** Return an image turned as an EXIF orientation of 1..8 says. */
function turned(image, turn) {
  if (turn < 2 || turn > 8) return image;
  const { width, height } = image;
  const result = turn > 4 ? new ImageData(height, width) : new ImageData(width, height);
  const from = new Uint32Array(image.data.buffer);
  const to = new Uint32Array(result.data.buffer);
  const flipX = [2, 3, 7, 8].includes(turn);
  const flipY = [3, 4, 6, 7].includes(turn);
  for (let y = 0, i = 0; y < result.height; y++) {
    for (let x = 0; x < result.width; x++, i++) {
      const column = turn > 4 ? y : x;
      const row = turn > 4 ? x : y;
      to[i] = from[(flipY ? height - 1 - row : row) * width + (flipX ? width - 1 - column : column)];
    }
  }
  return result;
}

function shrunk(image, longest) {
  const factor = longest / Math.max(image.width, image.height);
  if (!longest || factor >= 1) return image;
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.round(side * factor)));
  const [whole, small] = [contextOf(image.width, image.height), contextOf(width, height)];
  whole.putImageData(image, 0, 0);
  small.imageSmoothingQuality = "high";
  small.drawImage(whole.canvas, 0, 0, width, height);
  return small.getImageData(0, 0, width, height);
}

function select(image, channels) {
  const count = channels.length;
  const pixels = image.width * image.height;
  const result = new Uint8Array(pixels * count);
  channels.forEach((channel, place) => {
    for (let i = 0; i < pixels; i++) result[i * count + place] = image.data[i * 4 + channel];
  });
  return result;
}

function ofEachImage(scale) {
  return Array.isArray(scale) && scale.some((end) => typeof end === "string");
}

/**
 * Scale each channel from its own percentiles; where the rule names none, 8 bits stay as they are.
 *
 * @param {Uint8Array} values (height, width, channels).
 * @param {number} count Channels.
 * @param {"error" | "full_range" | [number | string, number | string]} [scale] `image_scale` of the rule.
 */
export function scaled(values, count, scale) {
  if (!ofEachImage(scale)) return values;
  const pixels = values.length / count;
  for (let channel = 0; channel < count; channel++) {
    const held = new Float64Array(256);
    for (let i = channel; i < values.length; i += count) held[values[i]] += 1;
    const [low, high] = scale.map((end) => (typeof end === "string" ? percentile(held, pixels, Number(end.slice(1))) : end));
    const factor = 255 / (high > low ? high - low : 1e-9);
    const table = Uint8Array.from(held, (_, value) => Math.min(255, Math.max(0, evenly((value - low) * factor))));
    for (let i = channel; i < values.length; i += count) values[i] = table[values[i]];
  }
  return values;
}

function percentile(held, pixels, percent) {
  const least = Math.max(1, Math.ceil(pixels * (percent / 100)));
  let [value, below] = [0, held[0]];
  while (below < least) below += held[++value];
  return value;
}

function evenly(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}

// What a file holds by its header: bands (alpha not counted), bits of a value, EXIF orientation, and the file without
// color profiles and orientation, so that every browser decodes the stored numbers.

function inspect(bytes) {
  try {
    if (begins(bytes, [0x89, 0x50, 0x4e, 0x47])) return inspectPng(bytes);
    if (begins(bytes, [0xff, 0xd8])) return inspectJpeg(bytes);
    if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 4) === "WEBP") return inspectWebp(bytes);
  } catch (error) {
    throw error instanceof RangeError ? new Refusal(DAMAGED) : error;
  }
  const tiff = begins(bytes, [0x49, 0x49]) || begins(bytes, [0x4d, 0x4d]);
  throw new Refusal(tiff ? "a TIFF, which browsers do not read; example.py does" : "no PNG, JPEG or WebP image");
}

const PNG_BANDS = { 0: 1, 2: 3, 3: 3, 4: 1, 6: 3 };
const PNG_KEPT = ["IHDR", "PLTE", "tRNS", "IDAT", "IEND"];

function inspectPng(bytes) {
  const view = viewOf(bytes);
  const kept = [bytes.subarray(0, 8)];
  let turn = 1;
  for (let at = 8; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at);
    const name = text(bytes, at + 4, 4);
    if (name === "acTL") throw new Refusal("several frames in one file");
    if (name === "eXIf") turn = orientation(bytes.subarray(at + 8, at + 8 + length));
    if (PNG_KEPT.includes(name)) kept.push(bytes.subarray(at, at + 12 + length));
    at += 12 + length;
  }
  if (text(kept.at(-1), 4, 4) !== "IEND") throw new RangeError("cut off");
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  return { bands: PNG_BANDS[view.getUint8(25)], bits: view.getUint8(24), width, height, turn, pixels: kept };
}

function inspectJpeg(bytes) {
  const view = viewOf(bytes);
  const kept = [bytes.subarray(0, 2)];
  const form = { turn: 1, pixels: kept };
  let at = 2;
  while (view.getUint8(at + 1) !== 0xda) {
    const marker = view.getUint8(at + 1);
    if (view.getUint8(at) !== 0xff) throw new RangeError("no marker");
    if (marker === 0xff) { at += 1; continue; } // padding
    const end = at + 2 + view.getUint16(at + 2);
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      form.bits = view.getUint8(at + 4);
      [form.height, form.width] = [view.getUint16(at + 5), view.getUint16(at + 7)];
      form.bands = view.getUint8(at + 9);
    }
    if (marker === 0xe1 && text(bytes, at + 4, 4) === "Exif") form.turn = orientation(bytes.subarray(at + 10, end));
    const other = marker >= 0xe1 && marker <= 0xef && marker !== 0xee; // Adobe's says how colors are stored
    if (!other) kept.push(bytes.subarray(at, end));
    at = end;
  }
  kept.push(bytes.subarray(at));
  if (!ended(kept.at(-1))) throw new RangeError("cut off"); // browsers fill the rest with gray
  return form;
}

/** Whether a JPEG's end marker is there, maybe with something behind it. */
function ended(scan) {
  for (let at = scan.lastIndexOf(0xd9); at > 0; at = scan.lastIndexOf(0xd9, at - 1)) {
    if (scan[at - 1] === 0xff) return true;
  }
  return false;
}

function inspectWebp(bytes) {
  const view = viewOf(bytes);
  const parts = [];
  let turn = 1;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const name = text(bytes, at, 4);
    const length = view.getUint32(at + 4, true);
    if (at + 8 + length > bytes.length) throw new RangeError("cut off");
    const part = bytes.slice(at, at + 8 + length + (length % 2));
    if (name === "VP8X") {
      if (part[8] & 0x02) throw new Refusal("several frames in one file");
      part[8] &= 0x10; // of its flags only alpha's
    }
    if (name === "EXIF") turn = orientation(part.subarray(text(part, 8, 4) === "Exif" ? 14 : 8));
    if (["VP8X", "ALPH", "VP8 ", "VP8L"].includes(name)) parts.push(part);
    at += 8 + length + (length % 2);
  }
  const head = bytes.slice(0, 12);
  viewOf(head).setUint32(4, parts.reduce((sum, part) => sum + part.length, 4), true);
  const [width, height] = webpSize(parts);
  return { bands: 3, bits: 8, width, height, turn, pixels: [head, ...parts] };
}

function webpSize([first]) {
  const view = viewOf(first ?? new Uint8Array());
  switch (text(first ?? new Uint8Array(), 0, 4)) {
    case "VP8X": return [12, 15].map((at) => 1 + view.getUint16(at, true) + 65536 * view.getUint8(at + 2));
    case "VP8L": return [0, 14].map((bits) => 1 + ((view.getUint32(9, true) >>> bits) & 0x3fff));
    default: return [14, 16].map((at) => view.getUint16(at, true) & 0x3fff);
  }
}

/** Return the orientation that an EXIF block names; 1 where it names none. */
function orientation(exif) {
  try {
    const view = viewOf(exif);
    const little = view.getUint16(0) === 0x4949;
    const start = view.getUint32(4, little);
    for (let i = 0; i < view.getUint16(start, little); i++) {
      const entry = start + 2 + 12 * i;
      if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little);
    }
  } catch { /* a damaged block turns nothing */ }
  return 1;
}

const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const begins = (bytes, head) => head.every((value, i) => bytes[i] === value);
const text = (bytes, at, count) => String.fromCharCode(...bytes.subarray(at, at + count));
