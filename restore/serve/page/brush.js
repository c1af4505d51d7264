// Hands on the stage: pointers (mouse, pen, fingers) and keys, turned into marks and movements.

export class Brush {
  /** shown: {stage, ring, cursor, rubber} elements; told: {changed(), object(x, y)}. */
  constructor(view, marks, shown, told) {
    Object.assign(this, { view, marks, told, ...shown, tool: "brush", at: null, pointers: new Map(), pen: false });
    const listen = (name, handle) => this.stage.addEventListener(name, handle);
    listen("pointerdown", (e) => this.down(e));
    listen("pointermove", (e) => this.moved(e));
    listen("pointerup", (e) => this.up(e));
    listen("pointercancel", (e) => this.up(e));
    listen("pointerleave", () => { this.ring.hidden = true; });
    listen("wheel", (e) => this.wheel(e));
    listen("keydown", (e) => this.key(e));
    listen("blur", () => { this.cursor.hidden = true; });
  }

  /** Diameter in photo pixels: the slider's 0 to 100 are 0.2 % to 40 % of the photo's long side. */
  set level(value) {
    this.value = value;
    const { width, height } = this.marks.size;
    this.size = Math.max(1, Math.max(width, height) * 0.002 * 200 ** (value / 100));
  }

  choose(tool) {
    this.tool = tool;
    this.stage.classList.toggle("drawing", tool === "brush" || tool === "eraser");
    this.stage.classList.toggle("moving", tool === "move");
    this.ring.hidden = true;
  }

  get ready() { return Boolean(this.view.size); }

  down(event) {
    if (!this.ready) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (event.pointerType === "pen") this.pen = true;
    if (this.pointers.size === 2) { this.giveUp(); return; }
    const [x, y] = this.view.at(event.clientX, event.clientY);
    const moves = this.tool === "move" || event.button === 1 || (this.pen && event.pointerType === "touch");
    if (moves) this.action = "move";
    else if (this.tool === "object") { this.action = null; this.told.object(x, y); }
    else if (this.tool === "box") { this.action = "box"; this.corner = [x, y]; }
    else {
      this.action = "stroke";
      this.marks.add({ kind: "stroke", points: [x, y], size: this.width(event), erase: this.erases(event) });
    }
  }

  erases(event) { return this.tool === "eraser" || event.button === 5; }

  width(event) { return event.pointerType === "pen" && event.pressure ? this.size * (0.4 + 1.2 * event.pressure) : this.size; }

  moved(event) {
    if (!this.ready) return;
    const before = this.pointers.get(event.pointerId);
    if (before) this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.pointers.size === 2) { if (before) this.pinch(event.pointerId, before); return; }
    this.showRing(event);
    if (!before) return;
    if (this.action === "move") this.view.move(event.clientX - before[0], event.clientY - before[1]);
    else if (this.action === "box") this.showRubber(this.corner, this.view.at(event.clientX, event.clientY));
    else if (this.action === "stroke") {
      for (const one of event.getCoalescedEvents?.() ?? [event]) this.marks.extend(...this.view.at(one.clientX, one.clientY));
    }
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.action === "box") this.addBox(this.corner, this.view.at(event.clientX, event.clientY));
    const drew = this.action === "box" || this.action === "stroke";
    this.action = null;
    this.rubber.hidden = true;
    if (drew) this.told.changed();
  }

  /** A second finger came: what the first began was no stroke. */
  giveUp() {
    if (this.action === "stroke") this.marks.undo();
    this.marks.undone = [];
    this.action = null;
    this.rubber.hidden = true;
  }

  pinch(id, before) {
    const other = [...this.pointers].find(([key]) => key !== id)[1], now = this.pointers.get(id);
    const far = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;
    const box = this.stage.getBoundingClientRect();
    this.view.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    this.view.scale(far(now, other) / far(before, other), (now[0] + other[0]) / 2 - box.left, (now[1] + other[1]) / 2 - box.top);
  }

  wheel(event) {
    if (!this.ready) return;
    event.preventDefault();
    const box = this.stage.getBoundingClientRect();
    if (event.shiftKey) this.view.move(-event.deltaX - event.deltaY, 0);
    else this.view.scale(Math.exp(-event.deltaY * 0.002), event.clientX - box.left, event.clientY - box.top);
  }

  addBox([x0, y0], [x1, y1]) {
    const { width, height } = this.marks.size, inside = (v, most) => Math.min(most, Math.max(0, Math.round(v)));
    const x = inside(Math.min(x0, x1), width), y = inside(Math.min(y0, y1), height);
    const w = inside(Math.max(x0, x1), width) - x, h = inside(Math.max(y0, y1), height) - y;
    if (w > 0 && h > 0) this.marks.add({ kind: "box", x, y, w, h });
  }

  showRing(event) {
    this.ring.hidden = !(this.tool === "brush" || this.tool === "eraser") || event.pointerType === "touch";
    if (this.ring.hidden) return;
    const box = this.stage.getBoundingClientRect(), side = this.size * this.view.zoom;
    this.ring.style.width = this.ring.style.height = `${side}px`;
    this.ring.style.transform = `translate(${event.clientX - box.left - side / 2}px, ${event.clientY - box.top - side / 2}px)`;
  }

  showRubber([x0, y0], [x1, y1]) {
    const style = this.rubber.style;
    style.left = `${Math.min(x0, x1)}px`; style.top = `${Math.min(y0, y1)}px`;
    style.width = `${Math.abs(x1 - x0)}px`; style.height = `${Math.abs(y1 - y0)}px`;
    this.rubber.hidden = false;
  }

  // Without a pointer: a cross that arrows move, and Space for the button.

  key(event) {
    if (!this.ready || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = Math.max(1, event.shiftKey ? this.size * 2 : this.size / 2);
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const { width, height } = this.marks.size;
    this.at ??= [width / 2, height / 2];
    if (event.key in ways) {
      const [dx, dy] = ways[event.key];
      this.at = [Math.min(width, Math.max(0, this.at[0] + dx * step)), Math.min(height, Math.max(0, this.at[1] + dy * step))];
      if (this.from) this.showRubber(this.from, this.at);
    } else if (event.key === " ") this.press();
    else return;
    event.preventDefault();
    this.showCursor();
  }

  press() {
    const [x, y] = this.at;
    if (this.tool === "object") this.told.object(x, y);
    else if (this.tool === "box" && this.from) {
      this.addBox(this.from, this.at);
      this.from = null;
      this.rubber.hidden = true;
      this.told.changed();
    } else if (this.tool === "box") this.from = [x, y];
    else if (this.tool !== "move") {
      this.marks.add({ kind: "stroke", points: [x, y], size: this.size, erase: this.tool === "eraser" });
      this.told.changed();
    }
  }

  showCursor() {
    this.cursor.hidden = false;
    this.cursor.style.left = `${this.view.x + this.at[0] * this.view.zoom}px`;
    this.cursor.style.top = `${this.view.y + this.at[1] * this.view.zoom}px`;
  }
}
