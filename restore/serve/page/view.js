// The stage: pictures in a world that is moved and enlarged as a whole. A picture is drawn small, and where it is looked
// at closely its own pixels are put over that once the view rests.

const SIDE = 2048; // long side of the small pictures
const REST = 180; // milliseconds
const MOST = 32; // screen pixels a photo pixel

export class Layer {
  constructor(canvas, detail) {
    this.canvas = canvas;
    this.detail = detail;
  }

  /** Show a picture file; its size. Rejects for what the browser cannot read. */
  async show(blob) {
    const image = new Image();
    image.src = URL.createObjectURL(blob);
    try {
      await image.decode();
      this.size = { width: image.naturalWidth, height: image.naturalHeight };
      this.scale = Math.min(1, SIDE / Math.max(this.size.width, this.size.height));
      this.canvas.width = Math.max(1, Math.round(this.size.width * this.scale));
      this.canvas.height = Math.max(1, Math.round(this.size.height * this.scale));
      this.canvas.getContext("2d").drawImage(image, 0, 0, this.canvas.width, this.canvas.height);
    } finally {
      URL.revokeObjectURL(image.src);
    }
    this.blob = blob;
    this.detail.hidden = true;
    return this.size;
  }

  hide() {
    this.blob = null;
    this.canvas.width = this.canvas.height = 0;
    this.detail.hidden = true;
  }

  /** Put the part of the picture that the stage shows over the small one: shares of the world, and screen pixels. */
  async closer(part, pixels, current) {
    if (!this.blob || this.scale === 1 || pixels * 1 <= this.canvas.width * part.w) { this.detail.hidden = true; return; }
    const { width, height } = this.size;
    const x = Math.floor(part.x * width), y = Math.floor(part.y * height);
    const w = Math.max(1, Math.min(width - x, Math.ceil(part.w * width))), h = Math.max(1, Math.min(height - y, Math.ceil(part.h * height)));
    const resizeWidth = Math.max(1, Math.min(w, Math.ceil(pixels)));
    const bitmap = await createImageBitmap(this.blob, x, y, w, h, { resizeWidth, resizeQuality: "high" });
    if (!current()) return;
    this.detail.width = bitmap.width;
    this.detail.height = bitmap.height;
    this.detail.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    const style = this.detail.style;
    style.left = `${(x / width) * 100}%`; style.top = `${(y / height) * 100}%`;
    style.width = `${(w / width) * 100}%`; style.height = `${(h / height) * 100}%`;
    this.detail.hidden = false;
  }
}

export class View {
  constructor(stage, world, layers) {
    Object.assign(this, { stage, world, layers, x: 0, y: 0, zoom: 1, turn: 0 });
    new ResizeObserver(() => { if (this.fitted) this.fit(); }).observe(stage);
  }

  /** Look at a photo of a size, all of it. */
  start(size) {
    this.size = size;
    this.world.style.width = `${size.width}px`;
    this.world.style.height = `${size.height}px`;
    this.fit();
  }

  fit() {
    if (!this.size) return;
    const { clientWidth: w, clientHeight: h } = this.stage;
    this.zoom = Math.min(w / this.size.width, h / this.size.height);
    this.x = (w - this.size.width * this.zoom) / 2;
    this.y = (h - this.size.height * this.zoom) / 2;
    this.move(0, 0);
    this.fitted = true;
  }

  move(dx, dy) {
    const { clientWidth: w, clientHeight: h } = this.stage, edge = 40;
    this.x = Math.min(w - edge, Math.max(edge - this.size.width * this.zoom, this.x + dx));
    this.y = Math.min(h - edge, Math.max(edge - this.size.height * this.zoom, this.y + dy));
    this.world.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.zoom})`;
    this.world.style.setProperty("--pixel", `${1 / this.zoom}px`);
    this.fitted = false;
    this.settle();
  }

  /** Look closely once nothing moves for a while. */
  settle() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.rest(), REST);
  }

  /** Enlarge by a factor around a point of the stage. */
  scale(factor, px = this.stage.clientWidth / 2, py = this.stage.clientHeight / 2) {
    const least = Math.min(this.stage.clientWidth / this.size.width, this.stage.clientHeight / this.size.height) / 2;
    const zoom = Math.min(MOST, Math.max(Math.min(least, 1), this.zoom * factor)), by = zoom / this.zoom;
    this.zoom = zoom;
    this.move((px - this.x) * (1 - by), (py - this.y) * (1 - by));
  }

  /** Photo pixels under a place on the screen. */
  at(clientX, clientY) {
    const box = this.stage.getBoundingClientRect();
    return [(clientX - box.left - this.stage.clientLeft - this.x) / this.zoom, (clientY - box.top - this.stage.clientTop - this.y) / this.zoom];
  }

  rest() {
    const turn = ++this.turn, { width, height } = this.size, z = this.zoom;
    const x0 = Math.max(0, -this.x / z), y0 = Math.max(0, -this.y / z);
    const x1 = Math.min(width, (this.stage.clientWidth - this.x) / z), y1 = Math.min(height, (this.stage.clientHeight - this.y) / z);
    if (x1 <= x0 || y1 <= y0) return;
    const part = { x: x0 / width, y: y0 / height, w: (x1 - x0) / width, h: (y1 - y0) / height };
    const pixels = (x1 - x0) * z * devicePixelRatio;
    for (const layer of this.layers) layer.closer(part, pixels, () => turn === this.turn).catch(() => {});
  }
}
