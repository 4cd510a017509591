"use strict";
// The panels. Everything they show was computed before and is looked up in `explored`; nothing is ranked here.

const { runs, kinds, few, orbits, images, changes, classes } = window.explored;
const VARIANTS = kinds[0].sheet.columns, COUNT = few.count;
const PALETTE = ["#3a7fd5", "#e0762a", "#2e9e6b", "#c64f86", "#8b63c9", "#b8951f", "#2ba3b4", "#d4534c", "#7a8c2e", "#9a6a4b", "#5d78b8", "#8f8f8f"];
const STEPS = ["#4468c9", "#2ba3a0", "#d9a32b", "#d4534c"];
const state = { run: 0, kind: 0, example: 0, variant: 0, other: 1, image: 0, orbit: 0, step: orbits[0].zero, picked: -1 };
const imageName = (at) => images.names[at];
const labels = (of) => numbers(of.labels, Int32Array);
const className = (of, at) => (classes && labels(of)[at] >= 0 ? classes[labels(of)[at]] : null);
const panels = [];
let showing = null;

function change(values) {
  Object.assign(state, values);
  if (state.other === state.example) state.other = state.example ^ 1;
  showing.show();
}

/** Return the choices among the few images. */
const fewImages = (but = -1) => [...Array(COUNT).keys()].filter((at) => at !== but)
  .map((value) => ({ value, label: `image ${value + 1}: ${imageName(value)}`, content: picture(few, value, imageName(value)) }));

const variantOf = (kind, example, image, variant) => ((example >> 1) * COUNT + image) * VARIANTS + variant;

// Analogy

/** Return the four choices of an analogy as nodes, and a function that fills them. */
function analogyChoices() {
  const [kind, example, variant, other] = [
    chooser("Kind of transformation", (value) => change({ kind: value }), "words"),
    chooser("Example image", (value) => change({ example: value })),
    chooser("What was done to the example", (value) => change({ variant: value })),
    chooser("Another image", (value) => change({ other: value })),
  ];
  const step = (number, title, node) => element("div", { class: "step" }, element("h3", {}, element("b", {}, number), title), node);
  const says = element("p", { class: "soft" });
  const node = element("div", { class: "choices" }, kind.node, says, step("1", "An example image, before", example.node),
    step("2", "The same image, after", variant.node), step("3", "Another image", other.node));
  return { node, show() {
    kind.show(kinds.map(({ title }, value) => ({ value, label: title })), state.kind);
    says.textContent = `Drawn from: ${kinds[state.kind].says}.`;
    example.show(fewImages(), state.example);
    variant.show([...Array(VARIANTS).keys()].map((value) => ({ value, label: `transformation ${value + 1}`, content:
      picture(kinds[state.kind].sheet, variantOf(state.kind, state.example, state.example, value), `the example after transformation ${value + 1}`) })), state.variant);
    other.show(fewImages(state.example), state.other);
  } };
}

/** Return the prediction of a run and the other image's real views, the most similar first. */
function analogyResult(run) {
  const { kind, example, variant, other } = state, { name, sheet, title } = kinds[kind], found = run.analogies[name];
  const item = (example * COUNT + other) * VARIANTS + variant;
  const better = numbers(found.better, Uint8Array)[item], tied = numbers(found.tied, Uint8Array)[item];
  const order = numbers(found.order, Uint8Array).subarray(item * VARIANTS, (item + 1) * VARIANTS);
  const similarity = numbers(found.similarity, Float32Array).subarray(item * VARIANTS, (item + 1) * VARIANTS);
  const rank = tied > 1 ? `${better + 1} to ${better + tied}` : String(better + 1);
  const view = (image, at, label, kind) => picture(sheet, variantOf(state.kind, example, image, at), label, kind);
  const [low, high] = [similarity[order[VARIANTS - 1]], similarity[order[0]]];
  const real = [...order].map((at, place) => {
    const tags = [place === 0 ? "nearest" : "", at === variant ? "true one" : ""].filter(Boolean);
    const bar = element("i", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${8 + 92 * (high > low ? (similarity[at] - low) / (high - low) : 1)}%`;
    return element("li", { class: at === variant ? "true" : "" }, view(other, at, `real view ${at + 1}${tags.length ? `, ${tags.join(", ")}` : ""}`),
      element("span", { class: "number" }, similarity[at].toFixed(3)), bar, element("span", { class: "tag" }, tags.join(", ")));
  });
  const partners = (example ^ 1) === other;
  return element("div", { class: "result" },
    element("div", { class: "equation" },
      picture(few, example, `example ${imageName(example)}, before`), element("span", {}, "→"), view(example, variant, "example, after"),
      element("span", {}, "as"), picture(few, other, `other image ${imageName(other)}`), element("span", {}, "→"),
      view(other, order[0], "nearest real view", better === 0 ? "true" : "false")),
    element("p", { class: "headline", role: "status" }, element("strong", { class: "rank" }, `Rank ${rank} of ${VARIANTS}. `),
      better === 0 && tied === 1 ? "The real view nearest to the predicted features is the true one."
        : "Other real views are nearer to the predicted features than the true one, or as near."),
    element("h3", {}, "The other image's real views, by cosine to the predicted features"),
    element("ol", { class: "views" }, ...real),
    element("p", { class: "soft" }, found.says, " ",
      partners ? "Example and other image are partners here, as in covary evaluate. " : `In covary evaluate this image's example is its partner, image ${(other ^ 1) + 1}. `,
      `${title}, all ${COUNT} images and their partners: mean reciprocal rank ${found.mrr.toFixed(3)}, by chance ${found.chance.toFixed(3)}.`));
}

function analogyPanel() {
  const choices = analogyChoices(), results = element("div");
  const node = element("section", {}, element("p", { class: "lead" },
    "Something was done to the example. The same is done to the features of another image; are they then those of that image, really transformed?"),
  element("div", { class: "columns" }, choices.node, results));
  return { name: "analogy", title: "Analogy", node, show() {
    choices.show();
    results.replaceChildren(analogyResult(runs[state.run]));
  } };
}

// Orbit

function orbitPanel() {
  const parameter = chooser("Parameter", (value) => change({ orbit: value, step: orbits[value].zero }), "words");
  const image = chooser("Image", (value) => change({ image: value }));
  const slider = element("input", { type: "range", id: "slider", min: 0, step: 1, input: () => change({ step: Number(slider.value) }) });
  const value = element("output", { for: "slider" }), view = element("div", { class: "view" }), charts = element("div", { class: "charts" });
  const node = element("section", {}, element("p", { class: "lead" },
    "One thing is done to an image, little by little. Its features take a path; a run with a map of its own predicts it from another image's path."),
  element("div", { class: "columns" }, element("div", { class: "choices" }, parameter.node, image.node,
    element("div", { class: "dial" }, view, element("div", {}, element("label", { for: "slider" }, "Value "), value, slider))), charts));
  return { name: "orbit", title: "Orbit", node, show() {
    const sweep = orbits[state.orbit], found = runs[state.run].orbits[sweep.name], steps = sweep.values.length;
    parameter.show(orbits.map(({ title }, at) => ({ value: at, label: title })), state.orbit);
    image.show(fewImages(), state.image);
    slider.max = steps - 1;
    slider.value = state.step;
    value.textContent = sweep.values[state.step];
    slider.setAttribute("aria-label", sweep.title);
    slider.setAttribute("aria-valuetext", sweep.values[state.step]);
    view.replaceChildren(picture(sweep.sheet, state.image * steps + state.step, `${imageName(state.image)}, ${sweep.title}: ${sweep.values[state.step]}`, "large"));
    const of = (text, width) => {
      const all = numbers(text, Float32Array), start = state.image * steps * width;
      return Array.from({ length: steps }, (_, at) => (width === 2 ? [all[start + 2 * at], all[start + 2 * at + 1]] : [at, all[start + at]]));
    };
    const paths = [{ kind: "real", points: of(found.path, 2) }], curves = [{ kind: "real", points: of(found.away, 1) }];
    if (found.predicted) {
      paths.push({ kind: "predicted", points: of(found.predicted, 2) });
      curves.push({ kind: "predicted", points: of(found.left, 1) });
    }
    const share = numbers(found.share, Float32Array)[state.image], [now, left] = curves.map((curve) => curve.points[state.step][1].toFixed(2));
    charts.replaceChildren(
      element("figure", {}, element("figcaption", {}, element("span", {}, element("b", {}, "Path of the features"), ` of length 1, in the plane of this orbit with ${Math.round(100 * share)} % of its variance`)),
        chart(paths, state.step, `Path of the features over ${sweep.title}`, { square: true }),
        legend([["real", "features of the real views"], ...(found.predicted ? [["predicted", "predicted, by the partner's example"]] : [])])),
      element("figure", {}, element("figcaption", {}, element("span", {}, element("b", {}, "Distance"), ", 1 is as far as another image")),
        chart(curves, state.step, `Distance over ${sweep.title}; here ${now}${left ? `, from the prediction ${left}` : ""}`,
          { zero: true, ends: [sweep.values[0], sweep.values[steps - 1]] }),
        legend([["real", `of the view from the image as it is: ${now}`], ...(left ? [["predicted", `of the view from its prediction: ${left}`]] : [])])),
      ...(found.predicted ? [] : [element("p", { class: "soft" }, "Nothing is predicted here: the run has learned no map of features, or none that is told of this parameter.")]));
  } };
}

// Map

/** Return the colours of groups, [[r, g, b]]; beyond the palette, turns of the colour wheel. */
function colours(count, ordered) {
  const parse = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  const wheel = (at) => [0, 8, 4].map((n) => {
    const k = (n + ((at * 137.5) % 360) / 30) % 12;
    return Math.round(255 * (0.52 - 0.3 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
  return Array.from({ length: count }, (_, at) => (ordered ? parse(STEPS[at]) : at < PALETTE.length ? parse(PALETTE[at]) : wheel(at)));
}

/** Return pictures of the neighbours of a point, and how many are of its class. */
function neighbourhood(shown, of, at, draw) {
  const found = [...numbers(shown.neighbours, Uint32Array).subarray(at * shown.shown, (at + 1) * shown.shown)];
  const own = className(of, at), alike = found.filter((i) => className(of, i) === own).length;
  return { found, node: element("div", {}, element("div", { class: "neighbours" }, ...found.map(draw)),
    own === null ? null : element("p", { class: "soft" }, `${alike} of ${found.length} are of its class, `, named(own), ".")) };
}

function mapPanel() {
  const view = { space: "images", plane: null, colour: null, only: null };
  const set = (values) => { Object.assign(view, values); change({}); };
  const spaces = chooser("What the points are", (space) => { state.picked = -1; rested.replaceChildren(); set({ space, only: null, colour: null }); }, "words");
  const planes = chooser("Map", (plane) => set({ plane }), "words");
  const by = chooser("Colour", (colour) => set({ colour, only: null }), "words");
  const host = element("div", { class: "map" }), key = element("div", { class: "key", role: "group", "aria-label": "Groups; choose one to see it alone" });
  const rested = element("div", { class: "rested", "aria-live": "polite" }), chosen = element("div", { class: "chosen", "aria-live": "polite" });
  const map = new PointMap(host, { hover, pick });
  const button = (text, label, click) => element("button", { type: "button", "aria-label": label, title: label, click }, text);
  const zoom = element("div", { class: "zoom" }, button("+", "Zoom in", () => map.zoomBy(1.5)), button("−", "Zoom out", () => map.zoomBy(1 / 1.5)), button("⤢", "Show all", () => map.zoomBy(1e-9)));
  const node = element("section", {}, element("div", { class: "bar-of-choices" }, spaces.node, planes.node, by.node, zoom),
    element("div", { class: "columns map-columns" }, element("div", {}, host, element("p", { class: "soft" },
      "Rest on a point to see it, click for its nearest neighbours in the features themselves. Arrow keys go from point to point, Enter chooses, Escape lets go, + and − zoom; so does the wheel after a click.")),
    element("div", { class: "side" }, rested, chosen, key)));

  const all = () => (view.space === "images" ? images : changes);
  const shown = () => runs[state.run][view.space];
  const draw = (at, kind = "") => (view.space === "images" ? picture(images.sheet, at, imageName(at), kind)
    : element("span", { class: "pair" }, picture(changes.sheet, 2 * at, `${changes.names[at]}, before`, kind), picture(changes.sheet, 2 * at + 1, "after", kind)));
  const words = (at) => [named(all().names[at]), ...(className(all(), at) === null ? [] : [", ", named(className(all(), at))]),
    ...(view.space === "images" ? [] : [`; ${changes.types[numbers(changes.type, Int32Array)[at]]}, ${changes.quarters[numbers(changes.quarter, Int32Array)[at]]}`])];

  function hover(at) {
    rested.replaceChildren(...(at < 0 ? [element("p", { class: "soft" }, "No point here.")]
      : [draw(at, "large"), element("p", {}, ...words(at))]));
  }
  function pick(at) { change({ picked: at }); }

  /** Return by what points can be coloured: [{value, label, groups, names, ordered}]. */
  function colourings() {
    if (view.space === "codes") {
      return [{ value: "type", label: "by type", groups: numbers(changes.type, Int32Array), names: changes.types },
        { value: "quarter", label: "by intensity", groups: numbers(changes.quarter, Int32Array), names: changes.quarters, ordered: true }];
    }
    const groups = labels(images), known = classes && groups.some((label) => label >= 0);
    return [known ? { value: "class", label: "by class", groups, names: classes } : { value: "none", label: "all alike", groups: new Int32Array(groups.length), names: ["images"] }];
  }

  return { name: "map", title: "Map", node, show() {
    spaces.show([{ value: "images", label: `${images.names.length.toLocaleString("en")} images` }, { value: "codes", label: `${changes.names.length.toLocaleString("en")} transformation codes` }], view.space);
    const names = Object.keys(shown().planes).sort().reverse();
    if (!names.includes(view.plane)) view.plane = names[0];
    planes.show(names.map((value) => ({ value, label: value })), view.plane);
    const ways = colourings(), way = ways.find(({ value }) => value === view.colour) ?? ways[0];
    view.colour = way.value;
    by.show(ways, way.value);
    by.node.hidden = ways.length < 2;
    const palette = colours(way.names.length, way.ordered);
    map.show(numbers(shown().planes[view.plane], Uint16Array), way.groups, palette, view.only,
      `${view.plane} of ${all().names.length} ${view.space === "images" ? "images" : shown().says}; arrow keys go from point to point, Enter chooses`);
    key.replaceChildren(...(view.space === "codes" ? [element("p", { class: "soft" }, `Points are ${shown().says}, each after one change of an image.`)] : []),
      ...way.names.map((name, at) => {
        const swatch = element("i", { class: "swatch", "aria-hidden": "true" });
        swatch.style.background = `rgb(${palette[at].join(",")})`;
        return element("button", { type: "button", "aria-pressed": String(view.only === at), click: () => set({ only: view.only === at ? null : at }) }, swatch, named(name));
      }));
    if (state.picked < 0) {
      map.ring(-1, []);
      chosen.replaceChildren();
    } else {
      const near = neighbourhood(shown(), all(), state.picked, (at) => draw(at));
      map.ring(state.picked, near.found);
      chosen.replaceChildren(element("h3", {}, "Nearest to ", ...words(state.picked)), draw(state.picked), near.node);
    }
    if (!rested.childNodes.length) hover(-1);
  } };
}

// Compare

function comparePanel() {
  const choices = analogyChoices(), results = element("div", { class: "two" });
  const node = element("section", {}, element("p", { class: "lead" }, "Both runs on the same images: what is near to the other image, and what becomes of the analogy."), choices.node, results);
  return { name: "compare", title: "Compare", node, show() {
    choices.show();
    results.replaceChildren(...runs.map((run) => element("article", {}, element("h2", {}, named(run.name)), element("p", { class: "soft" }, named(run.about)),
      element("h3", {}, "Nearest images to the other image"),
      element("div", { class: "near" }, picture(few, state.other, imageName(state.other)),
        neighbourhood(run.images, images, state.other, (at) => picture(images.sheet, at, imageName(at))).node),
      analogyResult(run))));
  } };
}

// The page

panels.push(analogyPanel(), orbitPanel(), mapPanel(), ...(runs.length > 1 ? [comparePanel()] : []));
document.title = `covary explore: ${runs.map((run) => run.name).join(", ")}`;
document.getElementById("title").replaceChildren(...runs.flatMap((run, at) => [at ? " and " : "", named(run.name)]));
const trained = element("span", { class: "soft" }), choice = chooser("Run", (value) => { change({ run: value }); describe(); }, "words");
document.getElementById("about").replaceChildren("test images of ", named(window.explored.data), ` at ${window.explored.size} px, seed ${window.explored.seed}`);
function describe() {
  trained.replaceChildren(named(runs[state.run].about));
  choice.show(runs.map(({ name }, value) => ({ value, label: name, content: named(name) })), state.run);
}
document.getElementById("footer").textContent = `Made by covary ${window.explored.version}. This page runs its own script alone and asks for nothing outside its folder.`;
document.getElementById("runs").append(...(runs.length > 1 ? [choice.node] : []), trained);
describe();
tabs(document.getElementById("tabs"), document.getElementById("panels"), panels, (panel) => {
  showing = panel;
  document.getElementById("runs").hidden = panel.name === "compare";
  panel.show();
});
