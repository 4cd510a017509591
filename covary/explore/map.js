"use strict";
// Points of a plane on a canvas. They are drawn when the view changes; what is under the pointer is found in a grid.

const FINEST = 65536, CELLS = 64, CELL = FINEST / CELLS, NEAR = 12, FURTHEST = 40;

class PointMap {
  /** host: element to fill. hover(index or -1), pick(index): what the user rests on, and chooses. */
  constructor(host, { hover, pick }) {
    this.points = element("canvas", { "aria-hidden": "true" });
    this.marks = element("canvas", {
      tabindex: 0, role: "application", "aria-roledescription": "map of points", "aria-label": "map",
      pointerdown: (event) => this.press(event), pointermove: (event) => this.move(event),
      pointerup: (event) => this.release(event), pointerleave: () => { if (!this.drag) this.rest(-1); },
      pointercancel: () => { this.drag = null; },
      wheel: (event) => this.wheel(event), keydown: (event) => this.key(event), dblclick: (event) => this.zoomAt(event, 2),
    });
    this.told = { hover, pick };
    this.host = host;
    [this.at, this.chosen, this.neighbours, this.drag, this.waiting] = [-1, -1, [], null, false];
    this.xy = new Uint16Array(0);
    this.whole();
    host.append(this.points, this.marks);
    new ResizeObserver(() => this.redraw()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  /** Show points (x0, y0, x1, y1, ... in steps of the grid); groups: of each point, an index into colours [[r, g, b]]. */
  show(xy, groups, colours, only, label) {
    if (xy !== this.xy) {
      [this.at, this.xy] = [-1, xy];
      this.index();
    }
    Object.assign(this, { groups, colours, only });
    this.marks.setAttribute("aria-label", label);
    this.redraw();
  }

  /** Ring a point and its neighbours. */
  ring(chosen, neighbours) {
    Object.assign(this, { chosen, neighbours });
    this.soon();
  }

  /** Sort the points by cell: those of cell c are order[starts[c]] to order[starts[c + 1] - 1]. */
  index() {
    const count = this.xy.length / 2, cell = (i) => (this.xy[2 * i + 1] / CELL | 0) * CELLS + (this.xy[2 * i] / CELL | 0);
    this.starts = new Uint32Array(CELLS * CELLS + 1);
    this.order = new Uint32Array(count);
    for (let i = 0; i < count; i++) this.starts[cell(i) + 1]++;
    for (let c = 0; c < CELLS * CELLS; c++) this.starts[c + 1] += this.starts[c];
    const next = this.starts.slice();
    for (let i = 0; i < count; i++) this.order[next[cell(i)]++] = i;
  }

  whole() { Object.assign(this, { x: FINEST / 2, y: FINEST / 2, zoom: 1 }); }

  get scale() { return (0.94 * Math.min(this.host.clientWidth, this.host.clientHeight) * this.zoom) / FINEST; }

  onScreen(i) {
    return [this.host.clientWidth / 2 + (this.xy[2 * i] - this.x) * this.scale,
      this.host.clientHeight / 2 - (this.xy[2 * i + 1] - this.y) * this.scale];
  }

  onMap(left, top) {
    return [this.x + (left - this.host.clientWidth / 2) / this.scale, this.y - (top - this.host.clientHeight / 2) / this.scale];
  }

  visible(i) { return this.only === null || this.groups[i] === this.only; }

  /** Return the nearest visible point within some pixels of a place, or -1. */
  nearest(left, top) {
    const [x, y] = this.onMap(left, top), reach = NEAR / this.scale;
    const within = (value) => Math.max(0, Math.min(CELLS - 1, Math.floor(value / CELL)));
    let [found, least] = [-1, reach * reach];
    for (let row = within(y - reach); row <= within(y + reach); row++) {
      for (let k = this.starts[row * CELLS + within(x - reach)]; k < this.starts[row * CELLS + within(x + reach) + 1]; k++) {
        const i = this.order[k], distance = (this.xy[2 * i] - x) ** 2 + (this.xy[2 * i + 1] - y) ** 2;
        if (distance < least && this.visible(i)) [found, least] = [i, distance];
      }
    }
    return found;
  }

  /** Return the nearest visible point in a direction from the one rested on, or the one itself. */
  beside(dx, dy) {
    if (this.at < 0) return this.chosen >= 0 ? this.chosen : this.order.find((i) => this.visible(i)) ?? -1;
    const [x, y] = [this.xy[2 * this.at], this.xy[2 * this.at + 1]];
    let [found, least] = [this.at, Infinity];
    for (let i = 0; i < this.order.length; i++) {
      const along = (this.xy[2 * i] - x) * dx + (this.xy[2 * i + 1] - y) * dy;
      const aside = Math.abs((this.xy[2 * i] - x) * dy) + Math.abs((this.xy[2 * i + 1] - y) * dx);
      if (along > 0 && aside <= along && along + aside < least && this.visible(i)) [found, least] = [i, along + aside];
    }
    return found;
  }

  rest(i) {
    if (i === this.at) return;
    this.at = i;
    this.soon();
    this.told.hover(i);
  }

  zoomBy(factor, left = this.host.clientWidth / 2, top = this.host.clientHeight / 2) {
    const [x, y] = this.onMap(left, top);
    this.zoom = Math.max(1, Math.min(FURTHEST, this.zoom * factor));
    const [newX, newY] = this.onMap(left, top);
    this.x += x - newX;
    this.y += y - newY;
    if (this.zoom === 1) this.whole();
    this.marks.style.touchAction = this.zoom > 1 ? "none" : "pan-y";
    this.redraw();
  }

  zoomAt(event, factor) { this.zoomBy(factor, event.offsetX, event.offsetY); }

  wheel(event) {
    if (document.activeElement !== this.marks && !event.ctrlKey) return; // the page scrolls
    event.preventDefault();
    this.zoomAt(event, Math.exp(-event.deltaY / 300));
  }

  press(event) {
    this.drag = { left: event.offsetX, top: event.offsetY, moved: false };
    this.rest(this.nearest(event.offsetX, event.offsetY));
  }

  move(event) {
    if (!this.drag || this.zoom === 1) return void this.rest(this.nearest(event.offsetX, event.offsetY));
    const [dx, dy] = [event.offsetX - this.drag.left, event.offsetY - this.drag.top];
    if (!this.drag.moved && Math.hypot(dx, dy) < 4) return;
    if (!this.drag.moved) this.marks.setPointerCapture(event.pointerId);
    this.drag = { left: event.offsetX, top: event.offsetY, moved: true };
    this.x -= dx / this.scale;
    this.y += dy / this.scale;
    this.redraw();
  }

  release() {
    if (this.drag && !this.drag.moved && this.at >= 0) this.told.pick(this.at);
    this.drag = null;
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.key in steps) this.rest(this.beside(...steps[event.key]));
    else if (event.key === "Enter" || event.key === " ") { if (this.at >= 0) this.told.pick(this.at); }
    else if (event.key === "Escape") this.told.pick(-1);
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.5);
    else if (event.key === "-") this.zoomBy(1 / 1.5);
    else if (event.key === "0") this.zoomBy(1e-9);
    else return;
    event.preventDefault();
  }

  redraw() {
    this.stale = true;
    this.soon();
  }

  soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (!this.host.clientWidth || !this.groups) return; // of a panel that is not open
      if (this.stale) this.drawPoints();
      this.drawMarks();
    });
  }

  fit(canvas) {
    const dense = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(this.host.clientWidth * dense), Math.round(this.host.clientHeight * dense)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    return dense;
  }

  /** Stamp a disc of pixels for every point, those that are not looked for first. */
  drawPoints() {
    this.stale = false;
    const dense = this.fit(this.points), { width, height } = this.points, context = this.points.getContext("2d");
    const image = context.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
    const count = this.order.length, scale = this.scale * dense, many = count > 20000 ? 1.2 : count > 4000 ? 1.7 : 2.6;
    const radius = Math.min(5, many * Math.sqrt(this.zoom)) * dense, whole = Math.ceil(radius), disc = [];
    for (let dy = -whole; dy <= whole; dy++) for (let dx = -whole; dx <= whole; dx++) if (dx * dx + dy * dy <= radius * radius) disc.push(dy * width + dx);
    const dark = matchMedia("(prefers-color-scheme: dark)").matches, dim = dark ? 0xff3a332c : 0xffe3dfdb;
    const colours = Uint32Array.from(this.colours, ([r, g, b]) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0);
    for (const pass of this.only === null ? [true] : [false, true]) {
      for (let i = 0; i < count; i++) {
        if (this.visible(i) !== pass) continue;
        const x = Math.round(width / 2 + (this.xy[2 * i] - this.x) * scale), y = Math.round(height / 2 - (this.xy[2 * i + 1] - this.y) * scale);
        if (x < whole || y < whole || x >= width - whole || y >= height - whole) continue;
        const centre = y * width + x, colour = pass ? colours[this.groups[i]] : dim;
        for (const offset of disc) pixels[centre + offset] = colour;
      }
    }
    context.putImageData(image, 0, 0);
  }

  drawMarks() {
    const dense = this.fit(this.marks), context = this.marks.getContext("2d");
    const ink = getComputedStyle(this.host).color;
    context.setTransform(dense, 0, 0, dense, 0, 0);
    context.clearRect(0, 0, this.host.clientWidth, this.host.clientHeight);
    const ring = (i, radius, width) => {
      context.beginPath();
      context.arc(...this.onScreen(i), radius, 0, 2 * Math.PI);
      Object.assign(context, { lineWidth: width, strokeStyle: ink });
      context.stroke();
    };
    for (const i of this.neighbours) ring(i, 6, 1.5);
    if (this.chosen >= 0) ring(this.chosen, 9, 3);
    if (this.at >= 0 && this.at !== this.chosen) ring(this.at, 7, 2);
  }
}
