// A label map in the viewer, in slices of the case's volume. Part of the adapter: only ohif_adapter.js makes one.

/** The label map of one series: a byte per voxel, slice by slice of the case's volume. */
export class Labelmap {
  constructor(viewer, id, displaySet, shape, places) {
    this.viewer = viewer;
    this.id = id;
    this.displaySet = displaySet;
    this.shape = shape;
    this.images = new Map(places.flatMap((k, n) => (k === null ? [] : [[k, n]])));
    this.unseen = new Map();
  }

  of(displaySet) {
    return displaySet.displaySetInstanceUID === this.displaySet;
  }

  /** The bytes of slice k, to read and to write; what no image shows (an interpolated slice) is kept here. */
  slices = k => {
    if (this.images.has(k)) {
      return this.viewer.bytesOf(this.id, this.images.get(k));
    }
    if (!this.unseen.has(k)) {
      this.unseen.set(k, new Uint8Array(this.shape[1] * this.shape[2]));
    }
    return this.unseen.get(k);
  };

  /** Say that slices were written. */
  changed(ks) {
    this.viewer.written(
      this.id,
      ks.filter(k => this.images.has(k)).map(k => this.images.get(k))
    );
  }

  segments() {
    return this.viewer.segmentsOf(this.id);
  }
}
