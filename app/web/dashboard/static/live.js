// Keeping up to date: the server tells of jobs, labels and their delivery as they come; the rest is asked for now and
// then.

import { panels, refresh } from "./panels.js";

const TOLD = {
  job: ["jobs", "models", "learning", "queue", "attention"],
  label: ["progress", "labels", "queue", "sessions", "archive", "attention"],
  delivery: ["archive", "labels", "attention"],
  progress: ["progress", "queue"],
};
const UNTOLD = ["archive", "sessions", "attention"];
const SLOW = 15_000;
const FAST = 5_000;
const GATHER = 300;

const due = new Set();
let gathering = null;
let told = false;

export function keepUpToDate() {
  listen();
  schedule();
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh(...panels.keys());
  });
}

function listen() {
  const source = new EventSource("api/v1/events");
  let wasOpen = false;
  source.addEventListener("open", () => {
    told = true;
    say("live", "Live");
    // What happened while nobody listened was told to nobody.
    if (wasOpen) refresh(...panels.keys());
    wasOpen = true;
  });
  source.addEventListener("error", () => {
    told = false;
    say("polling", "Asking every few seconds");
    // A refusal is final for the browser; the server may still have come back.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, SLOW);
  });
  source.addEventListener("job", (event) => onJob(JSON.parse(event.data)));
  for (const kind of ["label", "delivery", "progress"]) source.addEventListener(kind, () => gather(TOLD[kind]));
}

/** Progress is drawn at once; only a job that is new, or came to an end, needs its panels again. */
function onJob(job) {
  const row = document.querySelector(`[data-job="${CSS.escape(job.id)}"]`);
  if (row === null || row.dataset.state !== job.state) {
    gather(TOLD.job);
    return;
  }
  const bar = row.querySelector("progress");
  if (bar) {
    bar.value = job.progress;
    row.querySelector(".bar .number").textContent = `${Math.floor(100 * job.progress)} %`;
  }
  gather(["jobs"]);
}

/** Ask once for what several events in a row are about. */
function gather(names) {
  for (const name of names) due.add(name);
  gathering ??= setTimeout(() => {
    gathering = null;
    const now = [...due];
    due.clear();
    refresh(...now);
  }, GATHER);
}

async function schedule() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, told ? SLOW : FAST));
    if (document.hidden) continue;
    const answered = await refresh(...(told ? UNTOLD : panels.keys()));
    if (!answered) say("away", "The server doesn't answer");
    else if (!told) say("polling", "Asking every few seconds");
    else say("live", "Live");
  }
}

function say(state, text) {
  const place = document.getElementById("connection");
  place.dataset.state = state;
  if (place.textContent !== text) place.textContent = text;
}
