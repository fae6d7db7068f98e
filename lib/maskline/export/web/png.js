// Class ids as a PNG, which a canvas cannot write: it knows colors alone.

/**
 * Return a PNG of class ids: a palette image in the classes' colors, or above 256 classes 16-bit gray.
 *
 * @param {Uint8Array | Uint16Array} labels (height, width).
 * @param {number[][]} palette Red, green, blue of each class.
 * @returns {Promise<Blob>}
 */
export async function labelsPng(labels, width, height, palette) {
  const deep = palette.length > 256;
  const row = 1 + width * (deep ? 2 : 1); // each row begins with its filter: 0, none
  const lines = new Uint8Array(row * height);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0, at = y * row + 1; x < width; x++, i++) {
      if (deep) lines[at++] = labels[i] >> 8;
      lines[at++] = labels[i] & 255;
    }
  }
  const packed = new Response(new Blob([lines]).stream().pipeThrough(new CompressionStream("deflate")));
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, deep ? 16 : 8);
  header.setUint8(9, deep ? 0 : 3);
  const parts = [chunk("IHDR", new Uint8Array(header.buffer))];
  if (!deep) parts.push(chunk("PLTE", new Uint8Array(palette.flat())));
  parts.push(chunk("IDAT", new Uint8Array(await packed.arrayBuffer())), chunk("IEND", new Uint8Array()));
  return new Blob([new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]), ...parts], { type: "image/png" });
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function chunk(name, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(name), 4);
  bytes.set(data, 8);
  let crc = 0xffffffff;
  for (const byte of bytes.subarray(4, 8 + data.length)) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  view.setUint32(8 + data.length, ~crc >>> 0);
  return bytes;
}
