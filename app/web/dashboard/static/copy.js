// Copy buttons. Where the clipboard is only for pages with https, the text is selected and copied the old way.

import { announce } from "./announce.js";

export function listenForCopies() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    if (await copied(source)) announce("Copied");
    else announce("This browser doesn't let the page copy; the text is selected.", true);
  });
}

async function copied(source) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(source.textContent);
      return true;
    } catch {
      // Not allowed here; the other way may be.
    }
  }
  getSelection().selectAllChildren(source);
  return document.execCommand("copy");
}
