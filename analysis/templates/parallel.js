// Parallel coordinates: a line for each trial over the axes of its hyperparameters and its value, with a range on each axis.
"use strict";

const INACTIVE = -0.12,
  GRIP = 9,
  KEYS_STEP = 1 / 40,
  LEFT = 84, // room for the first name, and for the word "inactive"
  RIGHT = 34;

/** A line for each trial over all axes; ranges are dragged along an axis, or set with the arrow keys. */
class Parallel extends Lines {
  constructor(study, spec) {
    super(study, spec.title, spec.height);
    Object.assign(this, {
      axes: spec.axes,
      colors: spec.colors,
      changed: spec.changed,
      current: 0,
      corners: [],
      handles: [],
    });
    this.least = 66 * spec.axes.length;
    this.items = study.trials;
    this.bins = study.trials.map((trial) => {
      const share = (study.value[trial] - spec.from) / (spec.to - spec.from || 1);
      return Math.round(Math.max(0, Math.min(1, share)) * (spec.colors.length - 1));
    });
    this.ranks = spec.colors.map((_, at) => (study.sign > 0 ? at : spec.colors.length - 1 - at));
  }

  color(trial) {
    return this.study.state[trial] === 0 ? this.colors[this.bins[trial]] : "var(--soft)";
  }

  rise(position) {
    return this.bottom - ((position - INACTIVE) / (1 - INACTIVE)) * (this.bottom - this.top);
  }

  arrange() {
    const step = (this.width - LEFT - RIGHT) / (this.axes.length - 1);
    Object.assign(this, { top: 16, bottom: this.height - 98, step });
    this.within({ left: 0, right: this.width, top: 0, bottom: this.height });
    this.axes.forEach((axis, at) => (axis.px = tenth(LEFT + step * at)));
    for (const trial of this.items)
      this.corners[trial] = this.axes.flatMap((axis) => [axis.px, tenth(this.rise(axis.position(trial)))]);
    this.handles = this.axes.map((axis, at) => this.axis(axis, at));
    this.back.append(...this.handles.flatMap((handle) => handle.behind));
    this.axes.forEach((axis, at) => this.showRange(axis, at, this.changed.range(at)));
    if (!this.axes.some((axis) => axis.conditional)) return;
    const level = this.rise(INACTIVE);
    this.back.append(svg("path", { d: `M${LEFT - 12} ${level}H${this.width}`, class: "grid" }));
    this.front.append(words("inactive", LEFT - 16, level + 4, "end", "remark"));
  }

  /** Line, texts and the place to drag a range, of one axis. */
  axis(axis, at) {
    const behind = [svg("path", { d: `M${axis.px} ${this.top}V${this.rise(0)}`, class: "axis" })];
    if (axis.colored) behind.push(...this.colors.map((color, bin) => this.swatch(axis, color, bin)));
    const name = words(fitted(axis.name, at ? 118 : 92), axis.px + 4, this.bottom + 20, "end", "name");
    name.setAttribute("transform", `rotate(-30 ${axis.px + 4} ${this.bottom + 20})`);
    name.append(svg("title", {}, axis.name));
    const skip = Math.ceil(axis.marks.length / 12);
    const texts = axis.marks
      .filter((_, mark) => mark % skip === 0)
      .map(({ text, position }) =>
        words(fitted(text, this.step - 4), axis.px, this.rise(position) + 4, "middle", "halo"),
      );
    const grip = svg("rect", {
      x: axis.px - 14,
      y: this.top - 8,
      width: 28,
      height: this.bottom - this.top + 16,
      class: "grip",
      role: "slider",
      "aria-orientation": "vertical",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      tabindex: at === this.current ? 0 : -1,
    });
    const brush = svg("rect", { x: axis.px - 8, width: 16, class: "brush" });
    grip.addEventListener("pointerdown", (event) => this.drag(event, axis, at));
    grip.addEventListener("keydown", (event) => this.key(event, axis, at));
    this.front.append(name, brush, ...texts, grip);
    return { behind, brush, grip };
  }

  swatch(axis, color, bin) {
    const share = (value) =>
      axis.share(
        this.study.colorRange[0] + (value / this.colors.length) * (this.study.colorRange[1] - this.study.colorRange[0]),
      );
    const [low, high] = [share(bin), share(bin + 1)].map((position) => this.rise(position));
    return svg("rect", {
      x: axis.px + 3,
      y: Math.min(low, high),
      width: 5,
      height: Math.abs(high - low) + 0.5,
      fill: color,
    });
  }

  drawn(view) {
    const faint = this.items.filter((trial) => view.shown[trial] === FAINT),
      shown = this.items.filter((trial) => view.shown[trial] === SHOWN);
    this.stroke(faint, { stroke: "var(--line)", "stroke-width": 0.7, opacity: 0.5 });
    const others = shown.filter((trial) => this.study.state[trial] !== 0);
    const fade = others.length <= 200 ? 0.4 : others.length <= 1000 ? 0.2 : 0.07;
    this.stroke(others, { stroke: "var(--soft)", "stroke-width": 0.8, opacity: fade });
    const done = shown.filter((trial) => this.study.state[trial] === 0);
    for (const bin of this.ranks)
      this.stroke(
        done.filter((trial) => this.bins[trial] === bin),
        { stroke: this.colors[bin], "stroke-width": 1.4, opacity: 0.85 },
      );
    this.axes.forEach((axis, at) => this.showRange(axis, at, view.ranges.get(at)));
  }

  showRange(axis, at, range) {
    const { brush, grip } = this.handles[at];
    const [low, high] = range ?? [0, 0];
    brush.setAttribute("y", this.rise(high));
    brush.setAttribute("height", range ? Math.max(2, this.rise(low) - this.rise(high)) : 0);
    grip.setAttribute("aria-label", `Range of ${axis.name}`);
    grip.setAttribute("aria-valuenow", Math.round(100 * Math.max(0, Math.min(1, range ? high : 1))));
    grip.setAttribute("aria-valuetext", range ? axis.said(range) : "all values");
  }

  /** Drags a new range, the end of a range, or a whole range; a click without a drag removes it. */
  drag(event, axis, at) {
    event.preventDefault();
    const grip = event.target,
      top = this.root.getBoundingClientRect().top,
      before = this.changed.range(at);
    const position = (y) =>
      Math.max(
        INACTIVE - 0.04,
        Math.min(1.04, INACTIVE + ((this.bottom - (y - top)) / (this.bottom - this.top)) * (1 - INACTIVE)),
      );
    const start = position(event.clientY),
      near = GRIP / (this.bottom - this.top);
    const how = !before
      ? "new"
      : Math.abs(start - before[1]) < near
        ? "high"
        : Math.abs(start - before[0]) < near
          ? "low"
          : start > before[0] && start < before[1]
            ? "move"
            : "new";
    let moved = false;
    const move = (at_) => {
      const now = position(at_.clientY);
      moved ||= Math.abs(now - start) * (this.bottom - this.top) > 4;
      if (!moved) return;
      const fixed = how === "high" ? before[0] : how === "low" ? before[1] : start;
      const ends =
        how === "move" ? before.map((end) => end + now - start) : [Math.min(fixed, now), Math.max(fixed, now)];
      this.changed.set(at, ends);
    };
    const end = () => {
      grip.removeEventListener("pointermove", move);
      if (!moved) this.changed.set(at, null);
    };
    grip.setPointerCapture(event.pointerId);
    grip.addEventListener("pointermove", move);
    grip.addEventListener("lostpointercapture", end, { once: true });
    this.focus(at);
  }

  focus(at) {
    this.handles[this.current].grip.setAttribute("tabindex", -1);
    this.current = (at + this.axes.length) % this.axes.length;
    this.handles[this.current].grip.setAttribute("tabindex", 0);
    this.handles[this.current].grip.focus();
  }

  /** Left and right go to another axis; up and down move the upper end, with Shift the lower one; Delete removes. */
  key(event, axis, at) {
    const way = { ArrowUp: 1, ArrowDown: -1 }[event.key],
      aside = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (aside) this.focus(at + aside);
    else if (event.key === "Delete" || event.key === "Backspace") this.changed.set(at, null);
    else if (way) {
      const step = axis.step ?? KEYS_STEP,
        least = axis.step ? -axis.step / 2 : 0,
        most = axis.step ? 1 + axis.step / 2 : 1;
      const [low, high] = this.changed.range(at) ?? [least, most];
      const moved = event.shiftKey
        ? [Math.max(least, low + way * step), high]
        : [low, Math.min(most, high + way * step)];
      if (moved[0] < moved[1] - 1e-9)
        this.changed.set(at, moved[0] <= least + 1e-9 && moved[1] >= most - 1e-9 ? null : moved);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
