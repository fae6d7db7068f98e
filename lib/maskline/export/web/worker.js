// onnxruntime-web: a model once, then images, one after the other.
import * as ort from "./ort.wasm.bundle.min.mjs";

let session = null;

async function answered(question) {
  if (question.model) {
    ort.env.logLevel = "error";
    ort.env.wasm.wasmBinary = question.wasm;
    if (!self.crossOriginIsolated) ort.env.wasm.numThreads = 1; // threads share memory, which only such a page may
    session = await ort.InferenceSession.create(new Uint8Array(question.model), { executionProviders: ["wasm"] });
    return {};
  }
  const { input, height, width } = question;
  const images = new ort.Tensor("uint8", input, [1, height, width, input.length / (height * width)]);
  const name = session.outputNames.includes("labels") ? "labels" : session.outputNames[0];
  const output = (await session.run({ images }, [name]))[name];
  return { labels: name === "labels" ? output.data : argmax(output.data, output.dims[1], height * width) };
}

/** Return the class of the largest value of each pixel; of equal ones the first. */
function argmax(values, classes, pixels) {
  const labels = new (classes > 256 ? Uint16Array : Uint8Array)(pixels);
  const best = values.slice(0, pixels);
  for (let c = 1; c < classes; c++) {
    for (let i = 0, at = c * pixels; i < pixels; i++, at++) {
      if (values[at] > best[i]) {
        best[i] = values[at];
        labels[i] = c;
      }
    }
  }
  return labels;
}

onmessage = async ({ data }) => {
  try {
    postMessage(await answered(data));
  } catch (error) {
    postMessage({ error: String(error?.message ?? error) });
  }
};
