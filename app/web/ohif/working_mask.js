// The label map in the viewer: exactly what is shown is submitted.
//
// Answers are painted into it here, and others draw into it with OHIF's tools. What they did is found by comparing with
// `known`, the label map as this object last left it: OHIF says that something changed also when nothing did.

import { differences, numbersIn, paintBox, readAll, slicesOf, writeAll } from './masks.js';

// Milliseconds after a stroke of a brush.
const LOOK_AFTER = 200;

export class WorkingMask {
  /** `changedByHand(concerns)` is called when the label map was changed by other means than prompts; `concerns(number)`
   * says whether a segment has other voxels now. `emptied()` is called when a new one was made. */
  constructor(viewer, { changedByHand, emptied }) {
    this.viewer = viewer;
    this.changedByHand = changedByHand;
    this.emptied = emptied;
    this.known = null;
    this.touched = false;
    this.looking = 0;
  }

  /** The label map over a case that is open, made with segments of these names if there is none yet. */
  async over({ series, grid, slices }, names) {
    const before = this.viewer.labelmapOf(series);
    const labelmap = await this.viewer.labelmapFor(series, grid, slices, names);
    if (labelmap !== before) {
      this.known = readAll(labelmap.slices, labelmap.shape);
      this.emptied();
    }
    return labelmap;
  }

  /** The numbers of the segments that have voxels. */
  filled() {
    return this.known ? numbersIn(this.known) : new Set();
  }

  /** Someone draws with OHIF's tools: look what it was when they pause. `current()` gives the label map then, or null. */
  edited(current) {
    this.touched = true;
    clearTimeout(this.looking);
    this.looking = setTimeout(() => this.lookForEdits(current()), LOOK_AFTER);
  }

  lookForEdits(labelmap) {
    if (!this.touched || !labelmap) {
      return;
    }
    this.touched = false;
    const numbers = differences(labelmap.slices, labelmap.shape, this.known);
    if (numbers.size) {
      this.#changed(labelmap, number => numbers.has(number));
    }
  }

  /** Apply the response to a prompt; returns whether anything changed. */
  paint(labelmap, { region, voxels }, structure) {
    if (!region) {
      return false;
    }
    paintBox(slicesOf(this.known, labelmap.shape), labelmap.shape, region, voxels, structure);
    labelmap.changed(paintBox(labelmap.slices, labelmap.shape, region, voxels, structure));
    return true;
  }

  /** Replace everything. `pairs` are `[value, name]`: what a value of `voxels` means. Structures that are not there yet
   * are added. */
  replace(labelmap, voxels, pairs) {
    const numbers = new Map(pairs.map(([value, name]) => [value, this.#segmentOf(labelmap, name)]));
    writeAll(labelmap.slices, labelmap.shape, voxels, numbers);
    labelmap.changed([...Array(labelmap.shape[0]).keys()]);
    this.#changed(labelmap, () => true);
  }

  #segmentOf(labelmap, name) {
    const segments = labelmap.segments();
    const found = segments.find(segment => segment.name === name);
    if (found) {
      return found.number;
    }
    const number = 1 + Math.max(0, ...segments.map(segment => segment.number));
    this.viewer.addSegment(number, name);
    return number;
  }

  #changed(labelmap, concerns) {
    this.known = readAll(labelmap.slices, labelmap.shape);
    this.changedByHand(concerns);
  }
}
