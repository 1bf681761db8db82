// The interactive figures: points, learning curves and parallel coordinates. Each one can paint its trials, find the
// trial at a place and mark a trial; trials.js links them.
"use strict";

const SHOWN = 2,
  FAINT = 1;
const SMOOTH_LIMIT = 200,
  CHUNKS = 60;
let figures = 0;

/** The path of one mark; circles and squares are the caps of a line without length. */
function mark(kind, x, y, r) {
  if (kind === "v") return `M${x - r} ${y - 0.8 * r}h${2 * r}l${-r} ${1.8 * r}z`;
  if (kind === "X") return `M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`;
  if (kind === "P") return `M${x - r} ${y}h${2 * r}m${-r} ${-r}v${2 * r}`;
  return `M${x} ${y}h0`;
}

/** How a path of such marks is painted. */
function inked(kind, color, r) {
  if (kind === "v") return { fill: color };
  const width = kind === "o" || kind === "s" ? 2 * r : 0.8 * r;
  return { fill: "none", stroke: color, "stroke-width": width, "stroke-linecap": kind === "o" ? "round" : "square" };
}

/** Splits a list into at most so many parts, so that lines drawn part by part grow darker where many lie. */
function parts(list, most) {
  const size = Math.ceil(list.length / most),
    found = [];
  for (let at = 0; at < list.length; at += size) found.push(list.slice(at, at + size));
  return found;
}

/** The square of the distance of a place to a line between two points. */
function distance(x, y, ax, ay, bx, by) {
  const dx = bx - ax,
    dy = by - ay;
  const t = Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
  return (ax + t * dx - x) ** 2 + (ay + t * dy - y) ** 2;
}

const tenth = (value) => Math.round(value * 10) / 10;

/** What all figures have: layers from back to front, a size, and painting when they come into view. */
class Figure {
  constructor(study, title, height) {
    Object.assign(this, { study, title, height, width: 0, stale: true, visible: false });
    this.layers = ["back", "body", "front", "over"].map((name) => (this[name] = svg("g", { class: name })));
    this.clip = svg("rect");
    const id = `clip-${(figures += 1)}`;
    this.root = svg("svg", { role: "application", tabindex: 0, "aria-label": title, "aria-roledescription": "figure" });
    this.root.append(svg("clipPath", { id }, this.clip), ...this.layers);
    for (const name of ["body", "front", "over"]) this[name].setAttribute("clip-path", `url(#${id})`);
  }

  resize(available) {
    const width = Math.max(available, this.least ?? 240);
    if (width === this.width) return;
    this.width = width;
    for (const [key, value] of Object.entries({ width, height: this.height, viewBox: `0 0 ${width} ${this.height}` }))
      this.root.setAttribute(key, value);
    for (const layer of this.layers) layer.replaceChildren();
    this.arrange();
    this.stale = true;
  }

  within(box, room = 0) {
    const size = {
      x: box.left - room,
      y: box.top - room,
      width: box.right - box.left + 2 * room,
      height: box.bottom - box.top + 2 * room,
    };
    for (const [key, value] of Object.entries(size)) this.clip.setAttribute(key, value);
  }

  /** Paints the trials that are shown, unless the figure is out of sight. */
  paint(view) {
    this.stale = true;
    if (!this.visible || !this.width) return;
    this.stale = false;
    this.body.replaceChildren();
    this.drawn(view);
    this.emphasise(view);
  }

  emphasise(view) {
    this.over.replaceChildren();
    for (const [trial, kind] of [
      [view.selected, "selected"],
      [view.hovered, "hovered"],
    ])
      if (trial >= 0 && this.holds(trial)) this.over.append(...this.marked(trial, kind));
  }

  /** Trials that are shown here, in the order of the arrow keys. */
  order(view) {
    return this.items
      .filter((trial) => view.shown[trial] === SHOWN)
      .sort((a, b) => this.at(a)[0] - this.at(b)[0] || this.at(a)[1] - this.at(b)[1]);
  }

  holds(trial) {
    return (this.set ??= new Set(this.items)).has(trial);
  }

  /** The shown trial nearest to a place, or -1 when all are further than `reach` pixels. */
  nearest(x, y, view, reach) {
    let best = -1,
      least = reach * reach;
    for (const trial of this.items) {
      if (view.shown[trial] !== SHOWN) continue;
      const away = this.away(trial, x, y);
      if (away <= least) [best, least] = [trial, away];
    }
    return best;
  }

  /** A thick line among thin ones, with its meaning above the axes. */
  legend(text, color, x) {
    this.back.append(
      svg("path", { d: `M${x} 11h18`, stroke: color, "stroke-width": 2.2 }),
      words(text, x + 23, 15, "start"),
    );
  }
}

/** Trials as points of two numbers. */
class Points extends Figure {
  constructor(study, spec) {
    super(study, spec.title, spec.height);
    Object.assign(this, { x: spec.x, y: spec.y, line: spec.line, xs: spec.xs });
    this.items = study.trials.filter(
      (trial) => Number.isFinite(spec.xs[trial]) && (!spec.complete || study.state[trial] === 0),
    );
    this.radius = this.items.length * (spec.dense ?? 1) <= SMOOTH_LIMIT ? 3.2 : 2;
    this.px = new Float64Array(study.trials.length);
    this.py = new Float64Array(study.trials.length);
  }

  arrange() {
    const { box, place, rise } = axes(this.back, this.width, this.height, this.x, this.y);
    this.within(box, 7);
    for (const trial of this.items) {
      const spread = this.x.spread ? (((trial * 0.618034) % 1) - 0.5) * 0.36 : 0;
      this.px[trial] = tenth(place(this.xs[trial] + spread));
      this.py[trial] = tenth(rise(this.study.value[trial]));
    }
    if (!this.line) return;
    const corners = this.line.points.map(([x, y]) => [tenth(place(x)), tenth(rise(y))]);
    const path =
      corners.map(([x, y], at) => (at ? `H${x}V${y}` : `M${x} ${y}`)).join("") +
      (this.line.toEnd ? `H${tenth(place(this.line.toEnd))}` : "");
    this.front.append(svg("path", { d: path, fill: "none", stroke: this.line.color, "stroke-width": 1.6 }));
    if (this.line.dots) {
      const dots = corners.map(([x, y]) => mark("o", x, y)).join("");
      this.front.append(svg("path", { d: dots, ...inked("o", this.line.color, 4) }));
    }
    this.legend(this.line.text, this.line.color, box.left);
  }

  drawn(view) {
    for (const index of this.study.layers) {
      const { mark: kind, color } = this.study.states[index],
        paths = { [SHOWN]: [], [FAINT]: [] };
      for (const trial of this.items)
        if (this.study.state[trial] === index)
          paths[view.shown[trial]]?.push(mark(kind, this.px[trial], this.py[trial], this.radius));
      if (paths[FAINT].length)
        this.body.append(svg("path", { d: paths[FAINT].join(""), ...inked(kind, "var(--line)", this.radius) }));
      const look = { ...inked(kind, color, this.radius), opacity: index === 0 ? 0.9 : 0.65 };
      if (paths[SHOWN].length) this.body.append(svg("path", { d: paths[SHOWN].join(""), ...look }));
    }
  }

  at(trial) {
    return [this.px[trial], this.py[trial]];
  }

  away(trial, x, y) {
    return (this.px[trial] - x) ** 2 + (this.py[trial] - y) ** 2;
  }

  marked(trial, kind) {
    const { color } = this.study.states[this.study.state[trial]];
    return [svg("circle", { cx: this.px[trial], cy: this.py[trial], r: this.radius + 3, fill: color, class: kind })];
  }
}

/** Trials as lines; a subclass says where the corners of each are. */
class Lines extends Figure {
  at(trial) {
    const line = this.corners[trial];
    return [line[line.length - 2], line[line.length - 1]];
  }

  away(trial, x, y) {
    const line = this.corners[trial];
    if (line.length === 2) return (line[0] - x) ** 2 + (line[1] - y) ** 2;
    let least = Infinity;
    for (let at = 0; at + 3 < line.length; at += 2)
      if (x > line[at] - 30 && x < line[at + 2] + 30)
        least = Math.min(least, distance(x, y, line[at], line[at + 1], line[at + 2], line[at + 3]));
    return least;
  }

  path(trials) {
    return trials
      .map((trial) => {
        const line = this.corners[trial];
        let path = `M${line[0]} ${line[1]}${line.length === 2 ? "h0" : ""}`;
        for (let at = 2; at < line.length; at += 2) path += `L${line[at]} ${line[at + 1]}`;
        return path;
      })
      .join("");
  }

  stroke(trials, look) {
    for (const some of parts(trials, CHUNKS))
      this.body.append(
        svg("path", {
          d: this.path(some),
          fill: "none",
          "stroke-linejoin": "round",
          "stroke-linecap": "round",
          ...look,
        }),
      );
  }

  marked(trial, kind) {
    const [x, y] = this.at(trial),
      color = this.color(trial);
    return [
      svg("path", { d: this.path([trial]), fill: "none", class: `${kind} under` }),
      svg("path", { d: this.path([trial]), fill: "none", stroke: color, "stroke-width": 2.4 }),
      svg("circle", { cx: x, cy: y, r: 4, fill: color, class: kind }),
    ];
  }
}

/** The objective of each trial over its epochs. */
class Curves extends Lines {
  constructor(study, spec) {
    super(study, spec.title, spec.height);
    Object.assign(this, { x: spec.x, y: spec.y });
    this.items = study.trials.filter((trial) => study.curves[trial].length);
    this.corners = [];
  }

  color(trial) {
    return this.study.states[this.study.state[trial]].color;
  }

  arrange() {
    const { box, place, rise } = axes(this.back, this.width, this.height, this.x, this.y);
    this.within(box, 2);
    for (const trial of this.items)
      this.corners[trial] = this.study.curves[trial].flatMap(([epoch, value]) => [
        tenth(place(epoch)),
        tenth(rise(value)),
      ]);
    const best = this.study.index.get(this.study.best);
    if (best === undefined) return;
    this.front.append(
      svg("path", {
        d: this.path([best]),
        fill: "none",
        stroke: "var(--ink)",
        "stroke-width": 2.2,
        "stroke-linejoin": "round",
      }),
    );
    this.legend(`best: trial ${this.study.best}`, "var(--ink)", box.left);
  }

  drawn(view) {
    const count = this.items.length,
      fade = count <= 60 ? 0.7 : count <= 500 ? 0.4 : 0.15;
    for (const index of this.study.layers) {
      const here = this.items.filter((trial) => this.study.state[trial] === index);
      this.stroke(
        here.filter((trial) => view.shown[trial] === FAINT),
        { stroke: "var(--line)", "stroke-width": 1 },
      );
      const look = {
        stroke: this.study.states[index].color,
        "stroke-width": 1.2,
        opacity: Math.min(1, fade * (index === 0 ? 2 : 1)),
      };
      this.stroke(
        here.filter((trial) => view.shown[trial] === SHOWN),
        look,
      );
    }
  }
}
