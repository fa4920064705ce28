// The label map in the viewer: exactly what is shown is submitted.
//
// Answers are painted into it here, and others draw into it with OHIF's tools. What they did is found by comparing with
// `known`, the label map as the server has heard of it: OHIF says that something changed also when nothing did.

import { boxOf, differences, numbersIn, paintBox, readAll, slicesOf, writeAll } from './masks.js';

// Milliseconds after a stroke of a brush.
const LOOK_AFTER = 200;

export class WorkingMask {
  /** `changedByHand(numbers)` is called when the segments `numbers` were changed by other means than prompts. `emptied()`
   * is called when a new label map was made. */
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
      this.touched = false;
      this.emptied();
    }
    return labelmap;
  }

  /** The numbers of the segments that have voxels. */
  filled(labelmap) {
    return labelmap ? numbersIn(readAll(labelmap.slices, labelmap.shape)) : new Set();
  }

  /** Someone draws with OHIF's tools: look what it was when they pause. `current()` gives the label map then, or null. */
  edited(current) {
    this.touched = true;
    clearTimeout(this.looking);
    this.looking = setTimeout(() => {
      if (this.viewer.pressed) {
        this.edited(current); // in the middle of a stroke
        return;
      }
      const labelmap = current();
      const boxes = labelmap && this.changes(labelmap);
      if (boxes?.size) {
        this.changedByHand(new Set(boxes.keys()));
      }
    }, LOOK_AFTER);
  }

  /** What was drawn since the server last heard: a map from the numbers of segments to the boxes of what changed. */
  changes(labelmap) {
    if (!this.touched) {
      return new Map();
    }
    const boxes = differences(labelmap.slices, labelmap.shape, this.known);
    this.touched = boxes.size > 0;
    return boxes;
  }

  /** What is shown of a segment in a box, a byte for each voxel. */
  shownIn(labelmap, box, number) {
    return boxOf(labelmap.slices, labelmap.shape, box, value => (value === number ? 1 : 0));
  }

  /** The server has heard of these boxes, as `before` (a copy of the label map) shows them. */
  settle(labelmap, boxes, before) {
    if (!labelmap) {
      return;
    }
    const [known, drawn] = [slicesOf(this.known, labelmap.shape), slicesOf(before, labelmap.shape)];
    for (const { low, high } of boxes) {
      for (let k = low[0]; k < high[0]; k += 1) {
        for (let j = low[1]; j < high[1]; j += 1) {
          const [from, to] = [j * labelmap.shape[2] + low[2], j * labelmap.shape[2] + high[2]];
          known(k).set(drawn(k).subarray(from, to), from);
        }
      }
    }
    this.touched = true;
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
   * are added. `heard`: the server has this already. */
  replace(labelmap, voxels, pairs, heard = false) {
    const numbers = new Map(pairs.map(([value, name]) => [value, this.segmentOf(labelmap, name)]));
    writeAll(labelmap.slices, labelmap.shape, voxels, numbers);
    labelmap.changed([...Array(labelmap.shape[0]).keys()]);
    this.touched = !heard;
    if (heard) {
      this.known = readAll(labelmap.slices, labelmap.shape);
    }
  }

  /** The number of a structure's segment, which is added if there is none. */
  segmentOf(labelmap, name) {
    const segments = labelmap.segments();
    const found = segments.find(segment => segment.name === name);
    if (found) {
      return found.number;
    }
    const number = 1 + Math.max(0, ...segments.map(segment => segment.number));
    this.viewer.addSegment(number, name);
    return number;
  }
}
