"use strict";
// What panels are made of. Every text goes through `element`, as a text node or an attribute: no text becomes markup.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element; `given` holds attributes, and listeners as functions. Children are nodes and texts. */
function element(tag, given = {}, ...children) {
  const made = ["svg", "g", "path", "circle", "line", "text"].includes(tag)
    ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Return a text of the user's, kept from turning around what stands beside it. */
const named = (text) => element("bdi", {}, text);

/** Return the numbers of base64 as a typed array. */
function unpack(text, Type) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return new Type(bytes.buffer);
}

const unpacked = new Map();
/** Return the same as `unpack`, of each text once. */
function numbers(text, Type) {
  if (!unpacked.has(text)) unpacked.set(text, unpack(text, Type));
  return unpacked.get(text);
}

/** Return one picture of a sheet. */
function picture(sheet, index, label, kind = "") {
  const file = Math.floor(index / sheet.each), place = index % sheet.each;
  const lines = Math.ceil(Math.min(sheet.each, sheet.count - file * sheet.each) / sheet.columns);
  const [line, column] = [Math.floor(place / sheet.columns), place % sheet.columns];
  const made = element("span", { class: `picture ${kind}`, role: "img", "aria-label": label });
  const share = (at, of) => `${of > 1 ? (100 * at) / (of - 1) : 0}%`;
  made.style.backgroundImage = `url("${sheet.files[file]}")`;
  made.style.backgroundSize = `${100 * sheet.columns}% ${100 * lines}%`;
  made.style.backgroundPosition = `${share(column, sheet.columns)} ${share(line, lines)}`;
  return made;
}

/** Return a group of which one thing is chosen: `show(items, chosen)` fills it, arrow keys move the choice. */
function chooser(label, choose, kind = "") {
  const node = element("div", { role: "radiogroup", "aria-label": label, class: `chooser ${kind}` });
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  function show(items, chosen) {
    const focused = node.contains(document.activeElement);
    const pick = (at) => choose(items[(at + items.length) % items.length].value);
    node.replaceChildren(...items.map(({ value, label, content }, at) => element("button", {
      type: "button", role: "radio", "aria-label": label, "aria-checked": String(value === chosen),
      tabindex: value === chosen ? 0 : -1, click: () => pick(at),
      keydown: (event) => {
        if (event.key in by) { event.preventDefault(); pick(at + by[event.key]); }
      },
    }, content ?? label)));
    if (focused) node.querySelector('[aria-checked="true"]')?.focus();
  }
  return { node, show };
}

/** Fill tabs and panels from `[{name, title, node}]`; `shown` is told of the one that is opened. */
function tabs(list, host, panels, shown) {
  const open = (panel, focus) => {
    for (const each of panels) {
      const chosen = each === panel;
      each.tab.setAttribute("aria-selected", String(chosen));
      each.tab.tabIndex = chosen ? 0 : -1;
      each.node.hidden = !chosen;
    }
    if (focus) panel.tab.focus();
    shown(panel);
  };
  panels.forEach((panel, at) => {
    const turn = { ArrowRight: at + 1, ArrowLeft: at - 1 + panels.length, Home: 0, End: panels.length - 1 };
    panel.tab = element("button", {
      type: "button", role: "tab", id: `tab-${panel.name}`, "aria-controls": `panel-${panel.name}`,
      click: () => open(panel),
      keydown: (event) => {
        if (event.key in turn) { event.preventDefault(); open(panels[turn[event.key] % panels.length], true); }
      },
    }, panel.title);
    for (const [name, value] of Object.entries({
      id: `panel-${panel.name}`, role: "tabpanel", "aria-labelledby": `tab-${panel.name}`,
    })) panel.node.setAttribute(name, value);
    list.append(panel.tab);
    host.append(panel.node);
  });
  open(panels[0]);
}

/** Return lines through points `[{points: [[x, y]], kind}]`, each with a mark at `at`; `square`: one scale for both axes. */
function chart(lines, at, label, { square = false, zero = false, ends = [] } = {}) {
  const [width, height, edge] = [320, 240, 18];
  const all = lines.flatMap((line) => line.points);
  const bounds = [0, 1].map((axis) => {
    const values = all.map((point) => point[axis]);
    return [zero && axis ? 0 : Math.min(...values), Math.max(...values)];
  });
  const spans = bounds.map(([low, high]) => high - low || 1);
  const room = [width - 2 * edge, height - 2 * edge];
  const scales = square ? Array(2).fill(Math.min(room[0] / spans[0], room[1] / spans[1])) : room.map((r, i) => r / spans[i]);
  const place = ([x, y]) => [
    width / 2 + (x - (bounds[0][0] + bounds[0][1]) / 2) * scales[0],
    square ? height / 2 - (y - (bounds[1][0] + bounds[1][1]) / 2) * scales[1] : height - edge - (y - bounds[1][0]) * scales[1],
  ];
  const node = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" });
  if (!square) {
    node.append(element("line", { class: "axis", x1: edge, x2: width - edge, y1: height - edge, y2: height - edge }));
    ends.forEach((text, end) => node.append(element("text", {
      x: end ? width - edge : edge, y: height - 4, "text-anchor": end ? "end" : "start" }, text)));
    node.append(element("text", { x: edge, y: 12 }, bounds[1][1].toFixed(2)));
    node.append(element("text", { x: edge - 4, y: height - edge, "text-anchor": "end" }, "0"));
  }
  for (const { points, kind } of lines) {
    const placed = points.map(place);
    node.append(element("path", { class: `line ${kind}`, d: `M${placed.map((p) => p.map((v) => v.toFixed(1)).join(" ")).join("L")}` }));
    placed.forEach(([cx, cy], index) => node.append(
      element("circle", { class: `dot ${kind}${index === at ? " now" : ""}`, cx: cx.toFixed(1), cy: cy.toFixed(1), r: index === at ? 6 : 2.2 })));
  }
  return node;
}

/** Return what lines of a chart are. */
const legend = (entries) => element("ul", { class: "legend" }, ...entries.map(([kind, text]) =>
  element("li", {}, element("i", { class: `swatch ${kind}`, "aria-hidden": "true" }), text)));
