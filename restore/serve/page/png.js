// A mask as a PNG of one bit a pixel, written by hand: a canvas would take four bytes a pixel, and seconds.

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc(bytes) {
  let c = 0xffffffff;
  for (const b of bytes) c = TABLE[(c ^ b) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

function chunk(kind, data) {
  const body = new Uint8Array(8 + data.length + 4), view = new DataView(body.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) body[4 + i] = kind.charCodeAt(i);
  body.set(data, 8);
  view.setUint32(8 + data.length, crc(body.subarray(4, 8 + data.length)));
  return body;
}

/** A PNG of `rows`: per row one filter byte (0) and ⌈width / 8⌉ bytes, the leftmost pixel the highest bit. */
export async function onePixelPerBit(width, height, rows) {
  const packed = new Response(new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate")));
  const data = new Uint8Array(await packed.arrayBuffer());
  const head = new Uint8Array(13), view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head[8] = 1; // bits a sample; colour type 0 is grey
  const signature = Uint8Array.of(0x89, 80, 78, 71, 13, 10, 26, 10);
  return new Blob([signature, chunk("IHDR", head), chunk("IDAT", data), chunk("IEND", new Uint8Array(0))], { type: "image/png" });
}
