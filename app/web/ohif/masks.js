// Voxels on the wire and in a viewer's slices. Pure: no OHIF, no page.
//
// `slices` is a function from k to the bytes of that slice, rows after rows, as the viewer keeps them; the byte of a voxel
// is the number of its segment, 0 for none. Which of the viewer's images is slice k is decided elsewhere, by the image's
// identity and position, never by the order in which images come.

const CHUNK = 0x8000;

export function toBase64(bytes) {
  let text = '';
  for (let start = 0; start < bytes.length; start += CHUNK) {
    text += String.fromCharCode(...bytes.subarray(start, start + CHUNK));
  }
  return btoa(text);
}

export function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let n = 0; n < binary.length; n += 1) {
    bytes[n] = binary.charCodeAt(n);
  }
  return bytes;
}

export const gzip = bytes => piped(bytes, new CompressionStream('gzip'));
export const gunzip = bytes => piped(bytes, new DecompressionStream('gzip'));

async function piped(bytes, transform) {
  const stream = new Blob([bytes]).stream().pipeThrough(transform);
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Eight voxels to a byte, the first in the highest bit, as numpy's packbits. Anything but 0 counts as set. */
export function packBits(voxels) {
  const packed = new Uint8Array(Math.ceil(voxels.length / 8));
  for (let n = 0; n < voxels.length; n += 1) {
    if (voxels[n]) {
      packed[n >> 3] |= 0x80 >> (n & 7);
    }
  }
  return packed;
}

/** Put the answer to a prompt into the slices: inside the box `low`..`high`, `voxels` says where segment `number` is.
 *
 * Voxels of other segments stay theirs: a guess must not eat what someone has finished. Gives the k of the slices that
 * changed. */
export function paintBox(slices, shape, { low, high }, voxels, number) {
  const width = high[2] - low[2];
  const changed = [];
  let read = 0;
  for (let k = low[0]; k < high[0]; k += 1) {
    const slice = slices(k);
    let touched = false;
    for (let j = low[1]; j < high[1]; j += 1) {
      let write = j * shape[2] + low[2];
      for (const end = read + width; read < end; read += 1, write += 1) {
        if (voxels[read]) {
          if (slice[write] === 0) {
            slice[write] = number;
            touched = true;
          }
        } else if (slice[write] === number) {
          slice[write] = 0;
          touched = true;
        }
      }
    }
    if (touched) {
      changed.push(k);
    }
  }
  return changed;
}

/** Replace everything: `voxels` is the whole volume in (k, j, i), `numbers` maps its values to segment numbers. */
export function writeAll(slices, shape, voxels, numbers) {
  const size = shape[1] * shape[2];
  for (let k = 0; k < shape[0]; k += 1) {
    const slice = slices(k);
    for (let n = 0; n < size; n += 1) {
      slice[n] = numbers.get(voxels[k * size + n]) ?? 0;
    }
  }
}

/** The whole volume in (k, j, i), a byte per voxel. */
export function readAll(slices, shape) {
  const size = shape[1] * shape[2];
  const voxels = new Uint8Array(shape[0] * size);
  for (let k = 0; k < shape[0]; k += 1) {
    voxels.set(slices(k), k * size);
  }
  return voxels;
}

/** The slices of a whole volume. */
export const slicesOf = (voxels, shape) => k => voxels.subarray(k * shape[1] * shape[2], (k + 1) * shape[1] * shape[2]);

/** Where segments have other voxels in `slices` than in the whole volume `known`: a map from their numbers to the box
 * `{low, high}` of what changed. */
export function differences(slices, shape, known) {
  const boxes = new Map();
  const before = slicesOf(known, shape);
  for (let k = 0; k < shape[0]; k += 1) {
    const [was, is] = [before(k), slices(k)];
    for (let n = 0; n < is.length; n += 1) {
      if (is[n] !== was[n]) {
        const at = [k, Math.floor(n / shape[2]), n % shape[2]];
        extend(boxes, is[n], at);
        extend(boxes, was[n], at);
      }
    }
  }
  boxes.delete(0);
  return boxes;
}

function extend(boxes, number, at) {
  const box = boxes.get(number);
  if (!box) {
    boxes.set(number, { low: [...at], high: at.map(x => x + 1) });
    return;
  }
  for (let axis = 0; axis < 3; axis += 1) {
    box.low[axis] = Math.min(box.low[axis], at[axis]);
    box.high[axis] = Math.max(box.high[axis], at[axis] + 1);
  }
}

/** The box of what is set in a whole volume; null if nothing is. */
export function boxAround(voxels, shape) {
  const boxes = new Map();
  const row = shape[2];
  for (let n = 0; n < voxels.length; n += 1) {
    if (voxels[n]) {
      extend(boxes, 1, [Math.floor(n / (shape[1] * row)), Math.floor(n / row) % shape[1], n % row]);
    }
  }
  return boxes.get(1) ?? null;
}

/** The voxels of a box of a whole volume. */
export function inBox(voxels, shape, box) {
  return boxOf(slicesOf(voxels, shape), shape, box, value => value);
}

/** A byte for each voxel of a box: `of(value)` of what is in the slices. */
export function boxOf(slices, shape, { low, high }, of) {
  const found = new Uint8Array((high[0] - low[0]) * (high[1] - low[1]) * (high[2] - low[2]));
  let write = 0;
  for (let k = low[0]; k < high[0]; k += 1) {
    const slice = slices(k);
    for (let j = low[1]; j < high[1]; j += 1) {
      for (let i = low[2]; i < high[2]; i += 1, write += 1) {
        found[write] = of(slice[j * shape[2] + i]);
      }
    }
  }
  return found;
}

/** The numbers of the segments that have voxels. */
export function numbersIn(voxels) {
  const found = new Uint8Array(256);
  for (let n = 0; n < voxels.length; n += 1) {
    found[voxels[n]] = 1;
  }
  return new Set([...found.keys()].filter(number => number && found[number]));
}

/** 0/1 per voxel: where one segment is. */
export const only = (voxels, number) => voxels.map(value => (value === number ? 1 : 0));

/** Voxels whose numbers have no gaps: n for the n-th of `numbers`, 0 for what is none of them. */
export function withoutGaps(voxels, numbers) {
  const values = new Uint8Array(256);
  numbers.forEach((number, n) => {
    values[number] = n + 1;
  });
  return voxels.map(value => values[value]);
}
