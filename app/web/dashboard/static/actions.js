// Buttons and forms that change something: each names the call of the native API that it makes.

import { announce } from "./announce.js";
import { focusOn, refresh } from "./panels.js";

const confirmation = document.getElementById("confirm");
const submission = document.getElementById("submit");

export function listenForActions() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.matches("[data-submit]")) askForSubmission(button);
    else if (button.matches("[data-next]")) labelNext(button);
    else if (button.matches("[data-close]")) button.closest("dialog").close();
    else if (button.matches("[data-action]")) press(button);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.matches("form[data-action]")) {
      event.preventDefault();
      act(form, values(form), form.querySelector("[type=submit]"));
    } else if (submission.contains(form)) {
      event.preventDefault();
      submit(form);
    }
  });
}

async function press(button) {
  const id = button.id;
  if (button.dataset.confirm && !(await confirmed(button.dataset.confirm))) {
    giveBackFocus(id);
    return;
  }
  await act(button, button.dataset.body ? JSON.parse(button.dataset.body) : undefined, button);
  giveBackFocus(id);
}

/** Make the call that an element names, and say what came of it. `done` comes first if it went well. */
async function act({ dataset }, body, button, done = () => {}) {
  button.disabled = true;
  try {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const answer = await fetch(dataset.url, { method: dataset.method, headers, body: JSON.stringify(body) });
    if (!answer.ok) {
      announce(await reason(answer), true);
      return;
    }
    done();
    announce(dataset.done);
  } catch {
    announce("The server doesn't answer; reload the page to see whether anything was changed.", true);
  } finally {
    button.disabled = false;
    await refresh(...dataset.refresh.split(" "));
  }
}

/** Claim the next case of the strategy that the page shows, and open it in OHIF. */
async function labelNext(button) {
  button.disabled = true;
  try {
    const strategy = document.getElementById("strategy")?.value ?? "";
    const headers = { "Content-Type": "application/json" };
    // The name that was given in OHIF's panel: what is claimed here is that person's case there.
    const person = localStorage.getItem("segloop.person");
    if (person) headers["X-Segloop-User"] = encodeURIComponent(person);
    const body = JSON.stringify({ strategy, dicomweb: true });
    const answer = await fetch("api/v1/next", { method: "POST", headers, body });
    if (!answer.ok) {
      announce(await reason(answer), true);
    } else if (answer.status === 204) {
      announce("Every case has a label, or is in someone's hands.");
    } else {
      const { case: one } = await answer.json();
      const shown = { StudyInstanceUIDs: one.study_uid, initialSeriesInstanceUID: one.series_uid };
      location.assign(`ohif/segloop?${new URLSearchParams(shown)}`);
    }
  } catch {
    announce("The server doesn't answer.", true);
  } finally {
    button.disabled = false;
  }
}

async function reason(answer) {
  try {
    const { detail } = await answer.json();
    if (typeof detail === "string") return detail;
  } catch {
    // Not the server's own words, then: a proxy's page, perhaps.
  }
  return `The server answered ${answer.status}.`;
}

/** A dialog of its own for each question: `close` is told a little late, and must not answer the next one. */
function confirmed(question) {
  const dialog = confirmation.content.querySelector("dialog").cloneNode(true);
  dialog.querySelector("p").textContent = question;
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

function askForSubmission(button) {
  const form = submission.querySelector("form");
  form.dataset.url = button.dataset.url;
  document.getElementById("submit-text").textContent = button.dataset.submit;
  form.elements.comment.value = "";
  submission.querySelector(".said").replaceChildren();
  submission.addEventListener("close", () => giveBackFocus(button.id), { once: true });
  submission.showModal();
}

function submit(form) {
  act(form, values(form), form.querySelector("[type=submit]"), () => submission.close());
}

/** A panel may have been put in anew while a dialog was open: then the button is another one of the same id. */
function giveBackFocus(id) {
  const button = document.getElementById(id);
  if (button && document.activeElement === document.body) focusOn(button);
}

/** A form's fields as JSON; `options.max_epochs` goes into `options`. */
function values(form) {
  const found = {};
  for (const field of form.elements) {
    if (!field.name) continue;
    const path = field.name.split(".");
    const leaf = path.pop();
    const place = path.reduce((node, key) => (node[key] ??= {}), found);
    place[leaf] = field.type === "number" ? field.valueAsNumber : field.value;
  }
  return found;
}
