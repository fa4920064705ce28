// Voxel indices and patient coordinates. Pure: no OHIF, no page.
//
// An index is [k, j, i] as everywhere in segloop; a world position is [x, y, z] in LPS millimetres. Voxel centres have
// whole numbers. Boxes are half-open: low is in, high is out.

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const minus = (a, b) => a.map((value, n) => value - b[n]);

// How far points may leave one layer of voxels and still count as drawn in it.
const FLAT = 0.25;

/** The voxel grid of a case, from `/api/v1/cases/{id}/geometry`. */
export class Grid {
  /** `affine` has four rows and takes (i, j, k, 1) to LPS millimetres. */
  constructor({ shape, affine }) {
    this.shape = shape;
    this.origin = affine.slice(0, 3).map(row => row[3]);
    this.axes = [2, 1, 0].map(column => affine.slice(0, 3).map(row => row[column]));
    const [k, j, i] = this.axes;
    const volume = dot(k, cross(j, i));
    this.inverse = [cross(j, i), cross(i, k), cross(k, j)].map(row => row.map(value => value / volume));
  }

  /** Fractions of voxels. */
  toIndex(world) {
    const offset = minus(world, this.origin);
    return this.inverse.map(row => dot(row, offset));
  }

  toWorld(index) {
    return [0, 1, 2].map(n => this.origin[n] + this.axes.reduce((sum, axis, m) => sum + axis[n] * index[m], 0));
  }

  contains(index) {
    return index.every((value, n) => Math.round(value) >= 0 && Math.round(value) < this.shape[n]);
  }

  /** The voxel at a world position, or null outside the volume. */
  voxelAt(world) {
    const index = this.toIndex(world);
    return this.contains(index) ? index.map(Math.round) : null;
  }

  /** The box of voxels around world positions, cut to the volume; null if nothing is left of it. */
  boxAround(worlds) {
    const indices = worlds.map(world => this.toIndex(world));
    const low = this.shape.map((_, n) => Math.max(0, Math.round(Math.min(...indices.map(index => index[n])))));
    const high = this.shape.map((size, n) =>
      Math.min(size, Math.round(Math.max(...indices.map(index => index[n]))) + 1)
    );
    return low.every((value, n) => value < high[n]) ? { low, high } : null;
  }
}

/** The axis (0, 1 or 2) that all indices lie across within one layer of voxels, or null. */
export function flatAxis(indices) {
  const spreads = [0, 1, 2].map(n => {
    const values = indices.map(index => index[n]);
    return Math.max(...values) - Math.min(...values);
  });
  const least = Math.min(...spreads);
  return least <= FLAT ? spreads.indexOf(least) : null;
}

/** The voxels inside a closed line on a plane that lies across the grid at an angle, as a viewer's reformatted planes do.
 *
 * Gives `{low, high, voxels}` with one byte 0/1 per voxel of the box, or null if none is inside. The plane is sampled at
 * a third of the smallest voxel side, so that no voxel between two samples is missed. */
export function voxelsInsideLine(grid, worlds) {
  const box = grid.boxAround(worlds);
  if (!box) {
    return null;
  }
  const [u, v] = planeAxes(worlds);
  const flat = worlds.map(world => minus(world, worlds[0])).map(offset => [dot(offset, u), dot(offset, v)]);
  const step = Math.min(...grid.axes.map(axis => Math.hypot(...axis))) / 3;
  const size = box.high.map((high, n) => high - box.low[n]);
  const voxels = new Uint8Array(size[0] * size[1] * size[2]);
  let some = false;
  const [lowV, highV] = range(flat.map(point => point[1]));
  for (let y = lowV + step / 2; y < highV; y += step) {
    const ends = crossings(flat, y);
    for (let n = 0; n + 1 < ends.length; n += 2) {
      for (let x = ends[n]; x <= ends[n + 1]; x += step) {
        const world = worlds[0].map((value, m) => value + u[m] * x + v[m] * y);
        const index = grid.toIndex(world).map(Math.round);
        if (index.every((value, m) => value >= box.low[m] && value < box.high[m])) {
          const [k, j, i] = minus(index, box.low);
          voxels[(k * size[1] + j) * size[2] + i] = 1;
          some = true;
        }
      }
    }
  }
  return some ? { ...box, voxels } : null;
}

/** Two unit vectors in the plane of a closed line (Newell's normal). */
function planeAxes(worlds) {
  let normal = [0, 0, 0];
  let longest = [0, 0, 0];
  for (let n = 1; n < worlds.length; n += 1) {
    const a = minus(worlds[n - 1], worlds[0]);
    const b = minus(worlds[n], worlds[0]);
    normal = normal.map((value, m) => value + cross(a, b)[m]);
    if (Math.hypot(...b) > Math.hypot(...longest)) {
      longest = b;
    }
  }
  const u = longest.map(value => value / (Math.hypot(...longest) || 1));
  const across = cross(normal, u);
  return [u, across.map(value => value / (Math.hypot(...across) || 1))];
}

function crossings(flat, y) {
  const found = [];
  flat.forEach(([x1, y1], n) => {
    const [x2, y2] = flat[(n + 1) % flat.length];
    if (y1 <= y !== y2 <= y) {
      found.push(x1 + ((y - y1) / (y2 - y1)) * (x2 - x1));
    }
  });
  return found.sort((a, b) => a - b);
}

const range = values => [Math.min(...values), Math.max(...values)];
