// What came of an action: read out by screen readers, and shown for as long as it takes to read.

export function announce(text, bad = false) {
  // While a dialog is open, nothing outside of it is seen or heard.
  const place = document.querySelector("dialog[open] .said") ?? document.getElementById("said");
  const line = document.createElement("p");
  line.textContent = text;
  if (bad) line.className = "bad";
  place.append(line);
  setTimeout(() => line.remove(), bad ? 15_000 : 6_000);
}
