// The toolbar, the card and the keyboard of the interactive figures, and their place on the page.
"use strict";

const REACH = 26,
  FINGER = 44,
  MOST_ON_CARD = 16;

/** Filters, selection and the figures that show them. */
class Explorer {
  constructor(study, section) {
    Object.assign(this, { study, section });
    this.view = {
      shown: new Uint8Array(study.trials.length),
      states: new Set(study.state),
      ranges: new Map(),
      hovered: -1,
      selected: -1,
    };
    const changed = { range: (at) => this.view.ranges.get(at), set: (at, range) => this.setRange(at, range) };
    this.named = makeFigures(study, changed);
    this.rows = new Map(
      [...document.querySelectorAll("#table-trials tbody tr")].map((row) => [Number(row.cells[0].dataset.key), row]),
    );
    this.figures = [];
    this.seen = new IntersectionObserver((entries) => entries.forEach((entry) => this.sight(entry)), {
      rootMargin: "200px",
    });
    this.sized = new ResizeObserver((entries) => entries.forEach(({ target }) => this.fit(target)));
    this.holders = new Map();
    for (const [name, figures] of Object.entries(this.named)) this.mount(name, figures);
    if (!this.figures.length) return;
    this.build();
    this.filter();
  }

  mount(name, figures) {
    const host = document.querySelector(`figure[data-figure="${name}"]`);
    if (!host) return;
    const holders = figures.map((figure) => {
      const holder = html("div", { class: "plot" }, figure.root);
      this.holders.set(holder, figure);
      this.seen.observe(holder);
      this.sized.observe(holder);
      this.listen(figure);
      return holder;
    });
    host.classList.add("interactive");
    host.prepend(html("div", { class: figures.length > 1 ? "plots many-plots" : "plots" }, ...holders));
    this.figures.push(...figures);
  }

  sight({ target, isIntersecting }) {
    const figure = this.holders.get(target);
    figure.visible = isIntersecting;
    if (isIntersecting) figure[figure.stale ? "paint" : "emphasise"](this.view);
  }

  fit(holder) {
    const figure = this.holders.get(holder);
    if (!holder.clientWidth) return;
    figure.resize(holder.clientWidth);
    if (figure.stale) figure.paint(this.view);
  }

  /** Toolbar above the section, the card of the selected trial below it, and the card under the pointer. */
  build() {
    const { study } = this,
      present = [...this.view.states].sort();
    const boxes = present.map((index) => this.stateBox(index, study.state.filter((state) => state === index).length));
    this.count = html("span", { class: "count", role: "status" });
    this.chips = html("span", { class: "chips" });
    this.reset = html("button", { type: "button", hidden: "", onclick: () => this.clear() }, "Show all");
    const kept = study.trials.length,
      some = kept < study.measured;
    const thinned = `They show ${kept.toLocaleString("en-US")} of ${study.measured.toLocaleString("en-US")} trials that have a value: the best complete trials and an even selection of the others. `;
    const more = study.thinCurves ? "Learning curves are drawn at the rungs and at the last epoch. " : "";
    const hint =
      "Point at a trial to see its parameters. Click to select it in all figures and in the table. With the keyboard: arrow keys, Enter to select, C to copy the configuration. Drag along an axis of the parallel coordinates to show a range.";
    const note = html("p", { class: "note hint" }, "The figures are interactive. ", some ? thinned : "", more, hint);
    this.toolbar = html(
      "div",
      { class: "toolbar", role: "group", "aria-label": "Trials that the figures show" },
      ...boxes,
      this.chips,
      this.reset,
      this.count,
    );
    this.card = html("div", { class: "card", hidden: "", "aria-hidden": "true" });
    this.said = html("div", { class: "unseen", role: "status" });
    this.strip = html("div", {
      class: "strip",
      role: "region",
      "aria-label": "Selected trial",
      hidden: "",
      onkeydown: (event) => event.key === "Escape" && this.leave(),
    });
    this.section.querySelector(".blocks").before(note, this.toolbar);
    this.section.append(this.strip, this.said);
    document.body.append(this.card);
    for (const [number, row] of this.rows)
      if (study.index.has(number)) {
        row.classList.add("linked");
        row.addEventListener("click", () => this.select(study.index.get(number)));
      }
    new ResizeObserver(([nav]) =>
      document.documentElement.style.setProperty("--nav", `${nav.target.offsetHeight}px`),
    ).observe(document.querySelector("nav"));
  }

  stateBox(index, count) {
    const { name, words: said, color, mark: kind } = this.study.states[index];
    const box = html("input", { type: "checkbox", checked: "", value: name });
    box.addEventListener("change", () => {
      this.view.states[box.checked ? "add" : "delete"](index);
      this.filter();
    });
    const sign = svg(
      "svg",
      { width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true" },
      svg("path", { d: mark(kind, 0, 0, 4), ...inked(kind, color, 4) }),
    );
    return html("label", {}, box, sign, `${said} (${count.toLocaleString("en-US")})`);
  }

  setRange(at, range) {
    this.view.ranges[range ? "set" : "delete"](at, range);
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.filter());
  }

  clear() {
    this.view.ranges.clear();
    for (const box of this.toolbar.querySelectorAll("input")) box.checked = true;
    this.view.states = new Set(this.study.state);
    this.filter();
    this.toolbar.querySelector("input").focus();
  }

  /** Finds out which trials are shown, and paints them. */
  filter() {
    const { study, view } = this,
      upright = this.named.parallel?.[0].axes ?? [];
    const ranges = [...view.ranges].map(([at, [low, high]]) => (trial) => {
      const position = upright[at].position(trial);
      return position >= low - 1e-9 && position <= high + 1e-9;
    });
    let count = 0;
    for (const trial of study.trials) {
      view.shown[trial] = !view.states.has(study.state[trial])
        ? 0
        : ranges.every((inside) => inside(trial))
          ? SHOWN
          : FAINT;
      count += view.shown[trial] === SHOWN;
    }
    const total = study.trials.length.toLocaleString("en-US");
    this.count.textContent =
      count === study.trials.length ? `${total} trials` : `${count.toLocaleString("en-US")} of ${total} trials`;
    this.chips.replaceChildren(...[...view.ranges].map(([at, range]) => this.chip(upright[at], at, range)));
    this.reset.hidden = !view.ranges.size && view.states.size === new Set(study.state).size;
    for (const figure of this.figures) figure.paint(view);
  }

  chip(axis, at, range) {
    const said = `${axis.name}: ${axis.said(range)}`;
    const off = () => {
      this.setRange(at, null);
      this.toolbar.querySelector("input").focus();
    };
    return html(
      "button",
      { type: "button", class: "chip", "aria-label": `Remove the range ${said}`, onclick: off },
      `${said} ×`,
    );
  }

  listen(figure) {
    const { root } = figure,
      at = (event) => {
        const place = root.getBoundingClientRect();
        const reach = event.pointerType === "touch" ? FINGER : REACH;
        return figure.nearest(event.clientX - place.left, event.clientY - place.top, this.view, reach);
      };
    root.addEventListener(
      "pointermove",
      (event) => event.pointerType !== "touch" && this.hover(at(event), event.clientX, event.clientY),
    );
    root.addEventListener("pointerleave", () => this.hover(-1));
    root.addEventListener("click", (event) => {
      const trial = event.target.classList.contains("grip") ? -1 : at(event);
      if (trial >= 0) this.select(trial === this.view.selected ? -1 : trial);
    });
    root.addEventListener("keydown", (event) => event.target === root && this.key(event, figure));
    root.addEventListener("blur", () => this.hover(-1));
  }

  key(event, figure) {
    const { view, study } = this,
      order = figure.order(view),
      at = order.indexOf(view.hovered);
    const byValue = () => [...order].sort((a, b) => study.value[a] - study.value[b]);
    const start = order.includes(view.selected)
      ? view.selected
      : order.includes(study.index.get(study.best))
        ? study.index.get(study.best)
        : order[0];
    const step = (list, way) =>
      at < 0 ? start : list[Math.max(0, Math.min(list.length - 1, list.indexOf(view.hovered) + way))];
    const next = {
      ArrowRight: () => step(order, 1),
      ArrowLeft: () => step(order, -1),
      ArrowUp: () => step(byValue(), 1),
      ArrowDown: () => step(byValue(), -1),
      Home: () => order[0],
      End: () => order[order.length - 1],
    }[event.key];
    const trial = view.hovered >= 0 ? view.hovered : view.selected;
    if (next && order.length) this.point(figure, next());
    else if ((event.key === "Enter" || event.key === " ") && trial >= 0) {
      if (trial === view.selected) this.enter(figure);
      else this.select(trial);
    } else if (event.key === "c" && !event.ctrlKey && !event.metaKey && trial >= 0)
      copy(configuration(study, trial), (text) => this.say(text), this.strip);
    else if (event.key === "Escape") [this.hover(-1), this.select(-1)];
    else return;
    event.preventDefault();
  }

  /** Shows the card of a trial beside its mark, for the keyboard. */
  point(figure, trial) {
    const place = figure.root.getBoundingClientRect(),
      [x, y] = figure.at(trial);
    this.hover(trial, place.left + x, place.top + y);
    const { title, state, facts, params } = describe(this.study, trial);
    this.say(
      [title, state, ...facts.map((pair) => pair.join(" ")), ...params.map((pair) => pair.join(" "))].join(", "),
    );
  }

  hover(trial, x = 0, y = 0) {
    if (trial !== this.view.hovered) {
      this.view.hovered = trial;
      for (const figure of this.figures) if (figure.visible) figure.emphasise(this.view);
      if (trial >= 0) this.card.replaceChildren(...this.content(trial, MOST_ON_CARD));
    }
    this.card.hidden = trial < 0 || trial === this.view.selected;
    if (this.card.hidden) return;
    const { offsetWidth: width, offsetHeight: height } = this.card,
      room = 14;
    const left = x + room + width < innerWidth ? x + room : Math.max(4, x - room - width);
    this.card.style.setProperty("left", `${left}px`);
    this.card.style.setProperty("top", `${Math.max(4, Math.min(innerHeight - height - 4, y + room))}px`);
  }

  content(trial, most) {
    const { title, state, facts, params } = describe(this.study, trial);
    const head = [html("p", {}, html("b", {}, title), ` ${state}`), listed(facts)],
      { selected } = this.view;
    if (selected < 0 || selected === trial) return [...head, listed(params, most)];
    const strong = differing(this.study, trial, selected),
      first = [...params].sort(([a], [b]) => strong.has(b) - strong.has(a));
    const said = `Bold: other than in trial ${this.study.number[selected]}.`;
    return [...head, listed(first, most, strong), html("p", { class: "note" }, said)];
  }

  select(trial) {
    const { view, study, strip } = this;
    this.rows.get(study.number[view.selected])?.classList.remove("picked");
    view.selected = trial;
    for (const figure of this.figures) if (figure.visible) figure.emphasise(view);
    strip.hidden = trial < 0;
    if (trial < 0) return strip.replaceChildren();
    this.rows.get(study.number[trial])?.classList.add("picked");
    const said = html("span", { role: "status" });
    const copied = html(
      "button",
      { type: "button", onclick: () => copy(configuration(study, trial), (text) => (said.textContent = text), strip) },
      "Copy this configuration",
    );
    const close = html(
      "button",
      { type: "button", "aria-label": "Close the card of the selected trial", onclick: () => this.leave() },
      "Close",
    );
    strip.replaceChildren(...this.content(trial, Infinity), html("p", { class: "actions" }, copied, close, said));
    this.say(`Trial ${study.number[trial]} is selected. Press Enter again to go to its card.`);
  }

  enter(figure) {
    this.from = figure.root;
    this.strip.querySelector("button").focus();
  }

  leave() {
    this.select(-1);
    (this.from ?? this.toolbar.querySelector("input")).focus({ preventScroll: Boolean(this.from) });
  }

  say(text) {
    this.said.textContent = text;
  }
}

{
  const source = document.getElementById("trials-data");
  if (source)
    new Explorer(readStudy(JSON.parse(source.textContent)), document.getElementById("search").closest("section"));
}
