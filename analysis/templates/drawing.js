// What the interactive figures are drawn with: elements, numbers as the tables write them, scales, ticks and axes.
"use strict";

/** Creates an SVG element with attributes and children. */
function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Creates an HTML element; attributes that start with "on" are listeners. */
function html(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** Four significant digits as Python's ".4g" writes them, ties to even: 0.0123, 1e-05, 2.5e+06. */
function four(value) {
  const [mantissa, exponent] = Math.abs(value).toExponential(60).split("e");
  const exact = mantissa.replace(".", ""),
    half = "5".padEnd(57, "0");
  let head = Number(exact.slice(0, 4)),
    power = Number(exponent);
  if (exact.slice(4) > half || (exact.slice(4) === half && head % 2)) head += 1;
  if (head === 10000) [head, power] = [1000, power + 1];
  const digits = String(head).padEnd(4, "0"),
    sign = value < 0 ? "-" : "";
  const point = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power < -4 || power > 3) {
    const size = String(Math.abs(power)).padStart(2, "0");
    return `${sign}${point(`${digits[0]}.${digits.slice(1)}`)}e${power < 0 ? "-" : "+"}${size}`;
  }
  if (power < 0) return `${sign}${point(`0.${"0".repeat(-power - 1)}${digits}`)}`;
  return `${sign}${point(`${digits.slice(0, power + 1)}.${digits.slice(power + 1)}`)}`;
}

/** A value of a hyperparameter, as on the axes of the figures. */
function label(value) {
  return Number.isInteger(value) && Math.abs(value) < 1e7 ? String(value) : four(value);
}

/** A number as in the tables of this page. */
function cell(value) {
  if (value === null) return "–";
  const whole = Number.isInteger(value),
    size = Math.abs(value);
  if (size >= 1e15 || (size < 1e4 && !whole)) return four(value);
  const digits = whole ? 0 : 2;
  return value.toLocaleString("en-US", fixed(digits));
}

/** So many digits after the point. */
function fixed(digits) {
  return { minimumFractionDigits: digits, maximumFractionDigits: digits };
}

/** Maps low..high to start..end, in equal steps or in equal ratios. */
function scale(low, high, start, end, log = false) {
  const on = log ? Math.log10 : (x) => x,
    back = log ? (x) => 10 ** x : (x) => x;
  const first = on(low),
    span = on(high) - first || 1;
  const place = (value) => start + ((on(value) - first) / span) * (end - start);
  place.invert = (pixel) => back(first + ((pixel - start) / (end - start)) * span);
  return place;
}

/** Ends of an axis that leave some room around the data. */
function roomy(values, log) {
  let low = Infinity,
    high = -Infinity;
  for (const value of values)
    if (Number.isFinite(value) && !(log && value <= 0)) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  if (low > high) return [log ? 0.1 : 0, 1];
  if (log) {
    const [first, last] = [low, high].map(Math.log10),
      room = (last - first) * 0.05 || 0.3;
    return [10 ** Math.max(-307, first - room), 10 ** Math.min(308, last + room)];
  }
  const room = high / 20 - low / 20 || Math.abs(low) / 20 || 1;
  return [Math.max(-1e308, low - room), Math.min(1e308, high + room)];
}

/** About `count` round numbers between low and high, each with its text. */
function ticks(low, high, count) {
  const rough = high / count - low / count,
    size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((times) => times * size >= rough) * size;
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)),
    first = Math.ceil(low / step - 1e-9),
    found = [];
  for (let at = 0; at <= 2 * count && (first + at) * step <= high + step * 1e-9; at += 1) {
    const value = (first + at) * step || 0, // never minus zero
      large = Math.abs(high) >= 1e6 || places > 6;
    const text = large ? four(value) : value.toLocaleString("en-US", { ...fixed(places), useGrouping: false });
    found.push({ value, text: text.replace("-", "\u2212") });
  }
  return found;
}

/** Decades between low and high, or steps between them where there are fewer than two. */
function logTicks(low, high, count) {
  const decades = Math.log10(high / low),
    found = [];
  const steps = decades < 1.2 ? [1, 2, 5] : decades < 2 ? [1, 3] : [1];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1)
    for (const step of steps) {
      const value = Number(`${step}e${power}`);
      if (value >= low && value <= high) found.push({ value, text: label(value) });
    }
  const skip = Math.ceil(found.length / count);
  return found.filter((_, at) => at % skip === 0);
}

/** Text that fits into so many pixels of the small font. */
function fitted(text, pixels) {
  const most = Math.max(3, Math.floor(pixels / 6.2));
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/** A line of text whose end, or whose beginning, is at a place. */
function words(text, x, y, anchor = "middle", kind = "tick") {
  return svg("text", { x, y, "text-anchor": anchor, class: kind }, text);
}

/**
 * Draws a pair of axes and returns the scales and the inner box.
 *
 * Each of x and y has a label and low, high and log, or `names` of categories; x may have `marks`, the places of its ticks.
 */
function axes(host, width, height, x, y) {
  const across = Math.max(2, Math.floor(width / 90)),
    up = Math.max(4, Math.floor(height / 42));
  const side = y.log ? logTicks(y.low, y.high, up) : ticks(y.low, y.high, up);
  const left = 26 + 6.6 * Math.max(...side.map((tick) => tick.text.length), 1);
  const inner = width - left - 12,
    share = x.names ? inner / x.names.length : inner;
  const slanted = x.names && Math.max(...x.names.map((name) => name.length)) * 6.2 > share - 6;
  const box = { left, right: width - 12, top: 22, bottom: height - (slanted ? 66 : 42) };
  const place = scale(x.low, x.high, box.left, box.right, x.log),
    rise = scale(y.low, y.high, box.bottom, box.top, y.log);
  const every = slanted ? Math.ceil(14 / share) : 1;
  const below = x.names
    ? x.names
        .map((text, value) => ({ value, text: fitted(text, slanted ? 76 : share) }))
        .filter((_, at) => at % every === 0)
    : x.marks
      ? spaced(
          x.marks.map((value) => ({ value, text: label(value) })),
          place,
        )
      : x.log
        ? logTicks(x.low, x.high, across)
        : ticks(x.low, x.high, across).filter((tick) => !x.whole || Number.isInteger(tick.value));
  for (const tick of side) {
    const at = rise(tick.value);
    host.append(
      svg("path", { d: `M${box.left} ${at}H${box.right}`, class: "grid" }),
      words(tick.text, box.left - 6, at + 4, "end"),
    );
  }
  for (const tick of below) {
    const at = place(tick.value),
      text = words(tick.text, at, box.bottom + 16, slanted ? "end" : "middle");
    if (slanted) text.setAttribute("transform", `rotate(-28 ${at} ${box.bottom + 12})`);
    host.append(svg("path", { d: `M${at} ${box.top}V${box.bottom}`, class: "grid" }), text);
  }
  const middle = (box.top + box.bottom) / 2;
  const name = words(fitted(y.label, 1.1 * (box.bottom - box.top)), 12, middle, "middle", "name");
  name.setAttribute("transform", `rotate(-90 12 ${middle})`);
  host.append(svg("path", { d: `M${box.left} ${box.top}V${box.bottom}H${box.right}`, class: "axis" }), name);
  host.append(words(fitted(x.label, inner), (box.left + box.right) / 2, height - 6, "middle", "name"));
  if (y.note) host.append(words(y.note, box.left + 4, y.best > 0 ? box.bottom - 6 : box.top + 12, "start", "remark"));
  return { box, place, rise };
}

/** The ticks that do not run into the one before. */
function spaced(found, place) {
  let last = -Infinity;
  return found.filter((tick) => {
    const at = place(tick.value);
    if (at - last < 8 + 6.2 * tick.text.length) return false;
    last = at;
    return true;
  });
}
