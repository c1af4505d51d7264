// What is marked: a list of operations in photo pixels, drawn at the size of the view, and at full size only for the mask.

import { onePixelPerBit } from "./png.js";

const COLOUR = "#ff2d55";
const BAND = 512; // rows of the mask that are drawn at a time

export class Marks {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.start({ width: 1, height: 1 }, 1);
  }

  /** A new photo of `size`, shown at `scale` view pixels a photo pixel. */
  start(size, scale) {
    this.size = size;
    this.scale = scale;
    this.canvas.width = Math.max(1, Math.round(size.width * scale));
    this.canvas.height = Math.max(1, Math.round(size.height * scale));
    this.done = [];
    this.undone = [];
    this.draw();
  }

  /** {kind: "stroke", points: [x, y, …], size, erase}, {kind: "box", x, y, w, h}, {kind: "object", bitmap, small}, {kind: "invert"} or {kind: "clear"}. */
  add(operation) {
    this.done.push(operation);
    this.undone = [];
    this.apply(this.context, operation, this.scale, 0, this.size.height);
  }

  /** Lengthen the stroke that was added last; only its new end is drawn. */
  extend(x, y) {
    const stroke = this.done.at(-1), n = stroke.points.length;
    stroke.points.push(x, y);
    this.apply(this.context, { ...stroke, points: stroke.points.slice(n - 2) }, this.scale, 0, this.size.height);
  }

  undo() { if (this.done.length) { this.undone.push(this.done.pop()); this.draw(); } }
  redo() { if (this.undone.length) { this.done.push(this.undone.pop()); this.draw(); } }

  get empty() { return !this.done.some((o) => o.kind !== "clear" && !o.erase); }

  draw() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    for (const operation of this.done) this.apply(this.context, operation, this.scale, 0, this.size.height);
  }

  /** Draw an operation into rows `top` to `bottom` of the photo. */
  apply(context, operation, scale, top, bottom) {
    context.save();
    context.setTransform(scale, 0, 0, scale, 0, -top * scale);
    context.fillStyle = context.strokeStyle = COLOUR;
    const { width, height } = this.size;
    if (operation.kind === "stroke") {
      context.globalCompositeOperation = operation.erase ? "destination-out" : "source-over";
      context.lineWidth = operation.size;
      context.lineCap = context.lineJoin = "round";
      context.beginPath();
      const p = operation.points;
      context.moveTo(p[0], p[1]);
      for (let i = 2; i < p.length; i += 2) context.lineTo(p[i], p[i + 1]);
      if (p.length === 2) context.lineTo(p[0], p[1]);
      context.stroke();
    } else if (operation.kind === "box") {
      context.fillRect(operation.x, operation.y, operation.w, operation.h);
    } else if (operation.kind === "object") {
      const exact = scale === 1 ? operation.bitmap : operation.small;
      const sy = (top / height) * exact.height, sh = ((bottom - top) / height) * exact.height;
      context.drawImage(seeThrough(exact, sy, sh), 0, top, width, bottom - top);
    } else if (operation.kind === "invert") {
      context.globalCompositeOperation = "xor";
      context.fillRect(0, top, width, bottom - top);
    } else {
      context.clearRect(0, top, width, bottom - top);
    }
    context.restore();
  }

  /** The mask at the photo's size as a PNG; null where nothing is marked. */
  async png() {
    const { width, height } = this.size, stride = 1 + Math.ceil(width / 8);
    const rows = new Uint8Array(stride * height);
    const band = new OffscreenCanvas(width, Math.min(BAND, height));
    const context = band.getContext("2d", { willReadFrequently: true });
    let any = false;
    for (let top = 0; top < height; top += BAND) {
      const bottom = Math.min(height, top + BAND);
      if (!this.done.some((o) => reaches(o, top, bottom))) continue;
      context.clearRect(0, 0, width, BAND);
      for (const operation of this.done) this.apply(context, operation, 1, top, bottom);
      const pixels = new Uint32Array(context.getImageData(0, 0, width, bottom - top).data.buffer);
      for (let y = top, i = 0; y < bottom; y++) {
        const row = y * stride + 1;
        for (let x = 0; x < width; x++, i++) {
          if (pixels[i] >>> 31) { rows[row + (x >> 3)] |= 128 >> (x & 7); any = true; }
        }
      }
      await new Promise((next) => setTimeout(next)); // the page stays alive
    }
    return any ? onePixelPerBit(width, height, rows) : null;
  }
}

function reaches(o, top, bottom) {
  if (o.kind === "box") return o.y < bottom && o.y + o.h > top;
  if (o.kind !== "stroke") return o.kind !== "clear";
  for (let i = 1; i < o.points.length; i += 2) {
    const before = o.points[Math.max(1, i - 2)], low = Math.min(before, o.points[i]), high = Math.max(before, o.points[i]);
    if (low - o.size < bottom && high + o.size > top) return true;
  }
  return false;
}

/** Rows of a mask with black taken for nothing, as a canvas. */
function seeThrough(bitmap, top, rows) {
  const canvas = new OffscreenCanvas(bitmap.width, Math.max(1, Math.ceil(rows)));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, -top);
  const image = context.getImageData(0, 0, canvas.width, canvas.height), pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = pixels[i] & 128 ? 0xff552dff : 0; // ABGR of COLOUR
  context.putImageData(image, 0, 0);
  return canvas;
}
