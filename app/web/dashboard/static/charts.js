// Charts by uPlot, in the page's own colours. Every chart has a table beside it with the same numbers.

import uPlot from "./vendor/uPlot.esm.js";

const drawn = new Map();
const MAKERS = { days: dayChart, learning: learningChart };

export function drawCharts(root) {
  for (const element of drawn.keys()) {
    if (!element.isConnected) forget(element);
  }
  for (const element of root.querySelectorAll("[data-chart]")) draw(element);
}

/** Another colour scheme, or another width: the same chart again. */
export function redrawOnChange() {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => [...drawn.keys()].forEach(draw));
  addEventListener("resize", () => {
    for (const [element, plot] of drawn) plot.setSize(sizeOf(element));
  });
}

function draw(element) {
  forget(element);
  const { options, data } = MAKERS[element.dataset.chart](JSON.parse(element.dataset.points));
  drawn.set(element, new uPlot({ ...sizeOf(element), ...options }, data, element));
}

function forget(element) {
  drawn.get(element)?.destroy();
  drawn.delete(element);
}

function sizeOf(element) {
  return { width: element.clientWidth, height: element.clientHeight };
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function hue(index) {
  return colour(`--hue-${Math.min(index, 5)}`);
}

/** Bars of labels per day, one person's above the other's. */
function dayChart({ days, series }) {
  const places = days.map((_, index) => index);
  const heights = series.map(() => []);
  for (const day of places) {
    let height = 0;
    series.forEach((one, index) => heights[index].push((height += one.values[day])));
  }
  const most = Math.max(1, ...heights.at(-1));
  // The highest bars first: each lower one is drawn over them.
  const order = series.map((_, index) => index).reverse();
  const format = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", timeZone: "UTC" });
  const options = {
    ...common(),
    scales: { x: { time: false, range: [-0.6, days.length - 0.4] }, y: { range: [0, most * 1.08] } },
    axes: [
      axis({
        grid: { show: false },
        values: (_, ticks) => ticks.map((tick) => (days[tick] ? format.format(new Date(`${days[tick]}T00:00Z`)) : "")),
        incrs: [1, 2, 5, 7, 14],
        space: 60,
      }),
      axis({ incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000], size: 40 }),
    ],
    series: [
      {},
      ...order.map((index) => ({
        fill: hue(index),
        stroke: hue(index),
        width: 0,
        points: { show: false },
        paths: uPlot.paths.bars({ size: [0.7, 40] }),
      })),
    ],
  };
  return { options, data: [places, ...order.map((index) => heights[index])] };
}

/** Dice over version numbers: published versions as a line, rejected ones as crosses. */
function learningChart({ versions, models }) {
  const series = models.flatMap((_, index) => [
    { stroke: hue(index), width: 2, spanGaps: true, points: { show: true, size: 7, fill: hue(index) } },
    { stroke: hue(index), width: 0, paths: () => null, points: { show: true, size: 9, width: 2, paths: crosses } },
  ]);
  const options = {
    ...common(),
    scales: { x: { time: false, range: [0.5, Math.max(versions.length, 2) + 0.5] }, y: { range: [0, 1] } },
    axes: [
      axis({ incrs: [1, 2, 5, 10, 20, 50], label: "Version", labelSize: 20, labelFont: font() }),
      axis({ incrs: [0.2, 0.5], space: 18, size: 40, values: (_, ticks) => ticks.map((tick) => tick.toFixed(1)) }),
    ],
    series: [{}, ...series],
  };
  return { options, data: [versions, ...models.flatMap((model) => [model.published, model.rejected])] };
}

function crosses(plot, index) {
  const arm = 4 * devicePixelRatio;
  const path = new Path2D();
  plot.data[0].forEach((x, place) => {
    const y = plot.data[index][place];
    if (y === null) return;
    const [left, top] = [plot.valToPos(x, "x", true), plot.valToPos(y, "y", true)];
    path.moveTo(left - arm, top - arm);
    path.lineTo(left + arm, top + arm);
    path.moveTo(left - arm, top + arm);
    path.lineTo(left + arm, top - arm);
  });
  return { stroke: path, fill: null, clip: null };
}

function common() {
  return { legend: { show: false }, cursor: { show: false }, padding: [8, 8, 0, 0] };
}

function axis(more) {
  const line = { stroke: colour("--line"), width: 1 };
  return { stroke: colour("--muted"), font: font(), grid: line, ticks: { show: false }, size: 26, ...more };
}

function font() {
  return "12px system-ui, sans-serif";
}
