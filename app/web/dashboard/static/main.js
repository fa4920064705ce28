// What the page does beyond being read: times as the reader writes them, charts, live panels, and actions.

import { drawCharts, redrawOnChange } from "./charts.js";
import { listenForActions } from "./actions.js";
import { listenForCopies } from "./copy.js";
import { listenForLogs } from "./log.js";
import { keepUpToDate } from "./live.js";
import { listenForTurns, onPanel, panels, refresh } from "./panels.js";
import { localiseTimes } from "./times.js";
import { watchThumbnails } from "./thumbnails.js";

for (const dress of [localiseTimes, drawCharts, watchThumbnails]) {
  onPanel(dress);
  dress(document);
}
document.documentElement.classList.add("live");
redrawOnChange();
listenForTurns();
listenForActions();
listenForCopies();
listenForLogs();

// Days begin and end where the reader is; the server first counted them in UTC.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && zone !== "UTC") {
  panels.get("progress").dataset.src = `dashboard/panels/progress?zone=${encodeURIComponent(zone)}`;
  refresh("progress");
}
keepUpToDate();
