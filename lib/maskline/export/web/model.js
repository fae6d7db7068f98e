// The ONNX file and what it says of itself; it runs in a worker, so that the page answers meanwhile.

/** Fetch a file of the page's own address; `told` gets the bytes that have come, and all of them (0: not known). */
export async function fetched(address, told = () => {}) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: the server answered ${answer.status}`);
  const total = answer.headers.has("Content-Encoding") ? 0 : Number(answer.headers.get("Content-Length") ?? 0);
  const parts = [];
  let count = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    count += value.length;
    told(count, total);
  }
  return new Blob(parts).arrayBuffer();
}

/**
 * Return what an ONNX file of the export stage says of itself.
 *
 * @param {ArrayBuffer} content The file: a protobuf message whose field 14 holds pairs of key and value.
 * @throws {Error} It is none.
 */
export function metadata(content) {
  for (const [field, value] of fields(new Uint8Array(content))) {
    if (field !== 14) continue;
    const pair = Object.fromEntries([...fields(value)].map(([key, bytes]) => [key, new TextDecoder().decode(bytes)]));
    if (pair[1] === "maskline") return JSON.parse(pair[2]);
  }
  throw new Error("model.onnx has no metadata under the key maskline; take one that the export stage wrote");
}

/** Yield number and content of each field of a protobuf message; numbers are passed over. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    for (let value = 0, factor = 1; ; factor *= 128) {
      if (at >= bytes.length) throw new Error("model.onnx is no ONNX file");
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    const length = kind === 2 ? varint() : { 1: 8, 5: 4 }[kind] ?? 0;
    if (kind === 0) varint();
    else if (length === 0 && kind !== 2) throw new Error("model.onnx is no ONNX file");
    if (kind === 2) yield [Math.floor(tag / 8), bytes.subarray(at, at + length)];
    at += length;
  }
}

/** The model in a worker; one that died or was stopped is started again at the next image. */
export class Model {
  #worker = null;
  #parts;

  /**
   * @param {ArrayBuffer} content Of model.onnx.
   * @param {ArrayBuffer} runtime Of the .wasm file.
   */
  constructor(content, runtime) {
    this.#parts = { model: content, wasm: runtime };
    this.about = metadata(content);
  }

  /** Make it ready to run. */
  async start() {
    if (this.#worker) return;
    // By way of a blob it lives under the page's own Content-Security-Policy; from an address it would have none.
    const program = new Blob([`import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`], { type: "text/javascript" });
    const address = URL.createObjectURL(program);
    this.#worker = new Worker(address, { type: "module" });
    try {
      await this.#ask(this.#parts);
    } finally {
      URL.revokeObjectURL(address);
    }
  }

  /**
   * Return the class of each pixel.
   *
   * @param {Uint8Array} input (height, width, channels).
   * @returns {Promise<Uint8Array | Uint16Array>} (height, width).
   */
  async run(input, height, width) {
    await this.start();
    return (await this.#ask({ input, height, width })).labels;
  }

  /** End the work at hand; whoever waits for it gets an error. */
  stop(reason = "stopped") {
    this.#worker?.terminate();
    this.#worker = null;
    this.#fail?.(new Error(reason));
  }

  #fail = null;

  #ask(question) {
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      this.#worker.onmessage = ({ data }) => {
        this.#fail = null;
        if (data.error === undefined) return resolve(data);
        this.stop(); // memory that ran out leaves the worker of no use
        reject(new Error(data.error));
      };
      this.#worker.onerror = (event) => this.stop(event.message ?? "its program cannot be loaded");
      this.#worker.postMessage(question);
    });
  }
}
