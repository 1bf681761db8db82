// Asks whether the page has changed, and loads it again: not while the reader uses it.
"use strict";
{
  const QUIET_MS = 4000, SCROLL = "rungwise-scroll", OPEN = "rungwise-open";
  const body = document.body, seconds = Number(body.dataset.poll), version = body.dataset.version;
  const said = document.createElement("p");
  said.className = "live";
  said.setAttribute("role", "status");
  document.querySelector("header > div").append(said);
  const now = document.createElement("button");
  now.type = "button";
  now.textContent = "Show them now";
  now.addEventListener("click", () => load());
  const say = (text, button = false) => said.replaceChildren(text, ...(button ? [" ", now] : []));
  let used = 0;
  for (const kind of ["pointermove", "pointerdown", "keydown", "wheel", "touchmove"])
    addEventListener(kind, () => { used = Date.now(); }, { passive: true });
  const folds = () => [...document.querySelectorAll("details")];
  const selected = () => document.querySelector(".strip:not([hidden])") !== null || String(getSelection()) !== "";
  const busy = () => Date.now() - used < QUIET_MS || selected();
  const keep = () => {
    sessionStorage.setItem(SCROLL, String(scrollY));
    sessionStorage.setItem(OPEN, JSON.stringify(folds().map((fold) => fold.open)));
  };
  const load = () => { keep(); location.reload(); };
  const restore = () => {
    const open = JSON.parse(sessionStorage.getItem(OPEN) ?? "[]");
    folds().forEach((fold, at) => { if (open[at]) fold.open = true; });
    const top = sessionStorage.getItem(SCROLL);
    if (top !== null) scrollTo(0, Number(top));
    sessionStorage.removeItem(SCROLL);
    sessionStorage.removeItem(OPEN);
  };
  const ask = async () => {
    try {
      const state = await (await fetch("state", { cache: "no-store" })).json();
      if (state.version === version) say("");
      else if (busy()) say("There are new results. They are shown when you pause and nothing is selected.", true);
      else return load();
    } catch {
      say("rungwise watch has ended; this is the last state of the page.");
    }
    setTimeout(ask, 1000 * seconds);
  };
  restore();
  setTimeout(ask, 1000 * seconds);
}
