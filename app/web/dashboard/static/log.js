// A job's log in a dialog, read again while it is open. Without this the link opens the text itself.

const dialog = document.getElementById("log");
const text = document.getElementById("log-text");
const EVERY = 2_000;

export function listenForLogs() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-log]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(link);
  });
}

async function show(link) {
  const { href, id } = link;
  document.getElementById("log-title").textContent = `Log of ${link.dataset.log}`;
  text.textContent = "";
  dialog.showModal();
  dialog.addEventListener("close", () => document.getElementById(id)?.focus(), { once: true });
  while (dialog.open) {
    await read(href);
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

async function read(address) {
  try {
    const answer = await fetch(address);
    const fresh = answer.ok ? await answer.text() : `The server answered ${answer.status}.`;
    const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 4;
    const shown = fresh || "Nothing written yet.";
    if (text.textContent === shown) return;
    text.textContent = shown;
    if (atEnd) text.scrollTop = text.scrollHeight;
  } catch {
    if (!text.textContent) text.textContent = "The server doesn't answer.";
  }
}
