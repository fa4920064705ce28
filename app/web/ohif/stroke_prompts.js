// What was drawn on the images as a prompt to the server. Pure: no OHIF, no page.

import { packed } from './api.js';
import { flatAxis, voxelsInsideLine } from './geometry.js';

// In voxels: a line that is seen in the slice it was drawn in, and reaches no other.
const SCRIBBLE_RADIUS = 0.75;
const CORNERS = 3;

/** The prompt of a stroke (`prompt_tool.js`) on a case's `grid`, or null if it lies outside the images. Throws an Error
 * with a sentence if it can't be a prompt. */
export function promptOf({ kind, include, worlds }, grid) {
  if (kind === 'point') {
    const at = grid.voxelAt(worlds[0]);
    return at && { type: 'point', at, include };
  }
  if (kind === 'box') {
    const box = grid.boxAround(worlds);
    return box && { type: 'box', ...box, include };
  }
  const points = worlds.map(world => grid.toIndex(world));
  if (kind === 'scribble') {
    return points.some(point => grid.contains(point))
      ? { type: 'polyline_scribble', points, radius: SCRIBBLE_RADIUS, include }
      : null;
  }
  return lasso(points, worlds, include, grid);
}

function lasso(points, worlds, include, grid) {
  if (points.length < CORNERS) {
    throw new Error('A lasso is a closed line: hold the button and draw around something.');
  }
  const axis = flatAxis(points);
  if (axis !== null) {
    return points.some(point => grid.contains(point)) ? { type: 'polygon_lasso', axis, points, include } : null;
  }
  // On a plane at an angle to the slices: filled here, for a `polygon_lasso` lies on one of them.
  const filled = voxelsInsideLine(grid, worlds);
  return filled && { type: 'lasso', low: filled.low, high: filled.high, voxels: packed(filled.voxels), include };
}
