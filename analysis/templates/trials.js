// Links the interactive figures: filters, the card of a trial, and its selection in all figures and in the table.
// All that they show comes from the block "trials-data" of the page. Without scripts, and on paper, the still figures are shown.
"use strict";

/** The block of the page as columns, one entry for each trial. */
function readStudy(data) {
  const column = (at) => data.trials.map((row) => row[at]);
  const points = (curve) =>
    Array.isArray(curve[0])
      ? curve[0].map((epoch, at) => [epoch, curve[1][at]])
      : curve.map((value, at) => [at + 1, value]);
  const [number, state, value, epochs, seconds, weights] = [0, 1, 2, 3, 4, 5].map(column);
  return {
    ...data,
    number,
    state,
    value,
    epochs,
    seconds,
    weights,
    trials: number.map((_, at) => at),
    curves: column(6).map(points),
    params: data.parameters.map((_, at) => data.trials.map((row) => row[7 + at])),
    index: new Map(number.map((name, at) => [name, at])),
    layers: [1, 2, 5, 3, 4, 0],
  };
}

/** The axis of the objective in one figure. */
function valueAxis(study, given, values) {
  const [low, high] = given.low === null ? roomy(values, given.log) : [given.low, given.high];
  return { label: study.metric, low, high, log: given.log, note: given.note, best: study.sign };
}

/** The axis of one hyperparameter in a figure of points, and where its values lie on it. */
function parameterAxis(parameter, values) {
  if (parameter.labels)
    return {
      label: parameter.name,
      names: parameter.labels,
      low: -0.5,
      high: parameter.labels.length - 0.5,
      spread: true,
    };
  const known = values.filter((x) => x !== null),
    room = parameter.levels ? 0.2 : 0; // equal levels are spread
  const [low, high] = roomy([...known.map((x) => x - room), ...known.map((x) => x + room)], parameter.log);
  return { label: parameter.name, low, high, log: parameter.log, spread: parameter.levels, whole: parameter.integer };
}

/** The axis of a hyperparameter in the parallel coordinates: positions from 0 to 1, with texts. */
function parallelAxis(parameter, values) {
  const { name, labels, low, high, log, integer, conditional } = parameter;
  if (labels) {
    const last = Math.max(1, labels.length - 1),
      inside = ([from, to]) => labels.filter((_, at) => at / last >= from && at / last <= to);
    const marks = labels.map((text, at) => ({ text, position: at / last }));
    return {
      name,
      conditional,
      marks,
      step: 1 / last,
      position: (trial) => (values[trial] === null ? INACTIVE : values[trial] / last),
      said: (range) => inside(range).join(", ") || "none",
    };
  }
  const share = scale(low, high, 0, 1, log),
    step = integer && high - low <= 40 && !log ? 1 / (high - low || 1) : undefined;
  const ends = ([from, to]) => [Math.max(0, from), Math.min(1, to)].map(share.invert);
  const whole = ([from, to]) => (integer ? [Math.ceil(from - 1e-9), Math.floor(to + 1e-9)] : [from, to]);
  const said = (range) => (range[1] < 0 ? "inactive" : whole(ends(range)).map(label).join(" to "));
  const marks = [
    { text: label(low), position: 0 },
    { text: label(high), position: 1 },
  ];
  return {
    name,
    conditional,
    marks,
    step,
    said,
    position: (trial) => (values[trial] === null ? INACTIVE : low === high ? 0 : share(values[trial])),
  };
}

/** The last axis of the parallel coordinates: the objective, with the colours of the complete trials. */
function objectiveAxis(study) {
  const axis = valueAxis(study, study.values.history, study.value),
    known = study.value.filter((value) => value !== null),
    [least, most] = [Math.max(axis.low, Math.min(...known)), Math.min(axis.high, Math.max(...known))],
    { low, high } = least < most ? { low: least, high: most } : axis, // without the room beside the points
    place = scale(low, high, 0, 1, axis.log);
  const share = (value) => Math.max(0, Math.min(1, place(value)));
  const marks = [low, high].map((value, position) => ({ text: four(value), position }));
  return {
    name: study.metric,
    colored: true,
    marks,
    share,
    position: (trial) => share(study.value[trial]),
    said: (range) => range.map((end) => four(place.invert(end))).join(" to "),
  };
}

/** Every figure of the page that becomes interactive, by the name of its still figure. */
function makeFigures(study, changed) {
  const { values, lines, parameters } = study,
    by = (name) => parameters.findIndex((one) => one.name === name);
  const axis = (name, trials) =>
    valueAxis(
      study,
      values[name],
      trials.map((trial) => study.value[trial]),
    );
  const curved = study.curves.flatMap((curve) => curve.map(([, value]) => value));
  const [first, last] = roomy(
    study.curves.flatMap((curve) => curve.map(([epoch]) => epoch)),
    study.logEpochs,
  );
  const found = {
    history: [
      new Points(study, {
        title: study.titles.history,
        height: 300,
        xs: study.number,
        x: { label: "trial", whole: true, ...ends(roomy(study.number)) },
        y: axis("history", study.trials),
        line: lines.history,
      }),
    ],
    learning_curves: [
      new Curves(study, {
        title: study.titles.learning_curves,
        height: 300,
        x: { label: study.epochLabel, low: first, high: last, log: study.logEpochs, marks: study.rungs },
        y: valueAxis(study, values.learning_curves, curved),
      }),
    ],
  };
  for (const [name, cost] of [
    ["pareto_weights", study.weights],
    ["pareto_seconds", study.seconds],
  ]) {
    const done = study.trials.filter((trial) => study.state[trial] === 0 && cost[trial] !== null);
    if (!done.length) continue;
    const costs = done.map((trial) => cost[trial]),
      log = study.logCosts[name];
    found[name] = [
      new Points(study, {
        title: study.titles[name],
        height: 280,
        complete: true,
        xs: cost.map((x) => x ?? NaN),
        x: { label: study.costs[name], log, ...ends(roomy(costs, log)) },
        y: axis(name, done),
        line: lines[name],
      }),
    ];
  }
  found.slices = study.slices.map((name) => {
    const xs = study.params[by(name)],
      here = study.trials.filter((trial) => xs[trial] !== null);
    return new Points(study, {
      title: `${name}: ${study.metric} of each trial`,
      height: 230,
      dense: 2,
      xs: xs.map((x) => x ?? NaN),
      x: parameterAxis(parameters[by(name)], xs),
      y: axis(`slice ${name}`, here),
    });
  });
  const [from, to] = study.colorRange,
    upright = study.parallel.map((name) => parallelAxis(parameters[by(name)], study.params[by(name)]));
  if (upright.length > 1)
    found.parallel = [
      new Parallel(study, {
        title: study.titles.parallel,
        height: 412,
        axes: [...upright, objectiveAxis(study)],
        colors: study.colors,
        from,
        to,
        changed,
      }),
    ];
  return found;
}

const ends = ([low, high]) => ({ low, high });

/** The configuration of a trial as JSON: what is active, with all digits. */
function configuration(study, trial) {
  const lines = study.parameters.flatMap((parameter, at) => {
    const value = study.params[at][trial];
    if (value === null) return [];
    const real = !parameter.choices && !parameter.integer,
      text = JSON.stringify(parameter.choices ? parameter.choices[value] : value);
    return [
      `  ${JSON.stringify(parameter.name)}: ${real && Number.isInteger(value) && !text.includes("e") ? `${text}.0` : text}`,
    ];
  });
  return `{\n${lines.join(",\n")}\n}`;
}

/** What a card says of a trial: its title, facts and hyperparameters, each as a name and a text. */
function describe(study, trial) {
  const facts = [
    [study.metric, cell(study.value[trial])],
    ["epochs", `${study.epochs[trial]} of ${study.full}`],
  ];
  if (study.seconds[trial] !== null) facts.push(["seconds", cell(study.seconds[trial])]);
  if (study.weights[trial] !== null) facts.push(["weights", cell(study.weights[trial])]);
  const params = study.parameters.flatMap((parameter, at) => {
    const value = study.params[at][trial];
    return value === null ? [] : [[parameter.name, parameter.choices ? parameter.labels[value] : cell(value)]];
  });
  return { title: `Trial ${study.number[trial]}`, state: study.states[study.state[trial]].words, facts, params };
}

/** A list of names and texts; names may break after an underscore, and those in `strong` stand out. */
function listed(pairs, most = Infinity, strong = new Set()) {
  const broken = (name) =>
    name.split("_").flatMap((part, at) => (at ? ["_", document.createElement("wbr"), part] : [part]));
  const rows = pairs
    .slice(0, most)
    .map(([name, text]) =>
      html("div", strong.has(name) ? { class: "differs" } : {}, html("dt", {}, ...broken(name)), html("dd", {}, text)),
    );
  const more = pairs.length > most ? [html("div", {}, html("dt", {}, `and ${pairs.length - most} more`))] : [];
  return html("dl", {}, ...rows, ...more);
}

/** Names of the hyperparameters that two trials do not have in common. */
function differing(study, one, other) {
  const names = study.parameters.map((parameter) => parameter.name);
  return new Set(names.filter((_, at) => study.params[at][one] !== study.params[at][other]));
}

/** Copies a text, or shows it selected where the browser does not allow that. */
async function copy(text, said, place) {
  let done = false;
  try {
    await navigator.clipboard.writeText(text);
    done = true;
  } catch {
    const area = html("textarea", {
      readonly: "",
      rows: Math.min(10, text.split("\n").length),
      "aria-label": "Configuration as JSON",
    });
    area.value = text;
    place.querySelector("textarea")?.remove();
    place.append(area);
    area.select();
    done = document.execCommand("copy");
    if (done) area.remove();
  }
  said(done ? "Copied." : "Press Ctrl+C to copy the selected text.");
}
