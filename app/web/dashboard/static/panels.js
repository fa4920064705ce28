// Panels: the server renders them, here they are only put in place of what they were.

const dressers = [];
const last = new Map();
const wanted = new Set();
let running = false;

export const panels = new Map(
  [...document.querySelectorAll("[data-live]")].map((element) => [element.dataset.live, element]),
);

/** Do something with every panel that comes new. */
export function onPanel(dress) {
  dressers.push(dress);
}

/** Bring panels up to date, one request after the other. Resolves to whether the server answered. */
export async function refresh(...names) {
  for (const name of names) wanted.add(name);
  if (running) return true;
  running = true;
  try {
    while (wanted.size > 0) {
      const name = wanted.values().next().value;
      wanted.delete(name);
      await renew(name);
    }
    return true;
  } catch {
    wanted.clear();
    return false;
  } finally {
    running = false;
  }
}

async function renew(name) {
  const panel = panels.get(name);
  const source = panel.dataset.src;
  const answer = await fetch(source, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(`${source} answered ${answer.status}`);
  const html = await answer.text();
  // Somebody may have turned the page meanwhile; and what didn't change needn't flicker, nor lose a selection.
  if (panel.dataset.src !== source || last.get(name) === html) return;
  last.set(name, html);
  replace(panel, html);
}

function replace(panel, html) {
  const open = new Map([...panel.querySelectorAll("details[id]")].map((one) => [one.id, one.open]));
  const scrolled = [...panel.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
  const focus = panel.contains(document.activeElement) ? document.activeElement : null;
  const fresh = new DOMParser().parseFromString(html, "text/html");
  panel.replaceChildren(...fresh.body.childNodes);
  for (const [id, was] of open) {
    const details = document.getElementById(id);
    if (details) details.open = was;
  }
  panel.querySelectorAll(".scroll").forEach((one, index) => (one.scrollLeft = scrolled[index] ?? 0));
  for (const dress of dressers) dress(panel);
  // A control that is gone (a job's Stop, once it has stopped) leaves the focus with its panel, not with nothing.
  if (focus) focusOn((focus.id && document.getElementById(focus.id)) || panel);
}

/** Put the keyboard somewhere, also on what takes none by itself. */
export function focusOn(element) {
  if (!element.matches("a, button, input, select, summary, textarea, [tabindex]")) element.tabIndex = -1;
  element.focus({ preventScroll: true });
}

/** Turn a panel's pages, and choose what it shows, without loading the whole page. */
export function listenForTurns() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-turns]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    turn(link.dataset.turns, new URL(link.href).search);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-turns]");
    if (!form) return;
    event.preventDefault();
    turn(form.dataset.turns, `?${new URLSearchParams(new FormData(form))}`);
  });
}

function turn(name, query) {
  panels.get(name).dataset.src = `dashboard/panels/${name}${query}`;
  history.replaceState(null, "", `${query}#${name}`);
  refresh(name);
}
