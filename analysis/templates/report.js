const hint = () => {
  for (const part of document.querySelectorAll(".scroll, figure, .plot")) {
    const said = part.previousElementSibling?.className === "more" ? part.previousElementSibling : null;
    const cut = part.scrollWidth > part.clientWidth + 1;
    if (cut && !said) {
      const line = document.createElement("p");
      line.className = "more";
      line.textContent = "Scroll sideways to see all of it \u2192";
      part.before(line);
    } else if (!cut && said) said.remove();
  }
};
addEventListener("load", hint);
addEventListener("resize", hint);
document.addEventListener("toggle", hint, true);
const folds = [...document.querySelectorAll("details")];
let closed = [];
addEventListener("beforeprint", () => {
  closed = folds.filter((fold) => !fold.open);
  for (const fold of closed) fold.open = true;
});
addEventListener("afterprint", () => {
  for (const fold of closed) fold.open = false;
});
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const th = button.parentElement,
      row = th.parentElement,
      body = th.closest("table").tBodies[0];
    const up = th.getAttribute("aria-sort") !== "ascending",
      at = [...row.children].indexOf(th);
    for (const other of row.children) other.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", up ? "ascending" : "descending");
    const numeric = th.classList.contains("num"),
      key = (tr) => tr.children[at].dataset.key;
    const order = (a, b) => {
      const x = key(a),
        y = key(b);
      if (x === "" || y === "") return (x === "") - (y === ""); // what is missing stays last
      return (up ? 1 : -1) * (numeric ? x - y : x.localeCompare(y));
    };
    body.append(...[...body.rows].sort(order));
  });
}
