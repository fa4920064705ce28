// The order in which steps were made, over all structures of a case. Pure: no OHIF, no page.
//
// Each structure has its own session at the server, with its own undo. A batch is what one action did, in one structure or
// in several: it is undone as one.

let count = 0;
const PAGE = Math.random().toString(36).slice(2, 10);

/** A name for a batch of steps, which no other page gives. */
export function newBatch() {
  count += 1;
  return `${PAGE}-${count}`;
}

export class StepOrder {
  constructor() {
    this.forget();
  }

  forget() {
    this.made = [];
    this.undone = [];
  }

  /** A step of a structure was made. */
  add(batch, structure) {
    const last = this.made.at(-1);
    if (last?.batch === batch) {
      last.structures.add(structure);
    } else {
      this.made.push({ batch, structures: new Set([structure]) });
    }
    this.undone = [];
  }

  /** Its steps are gone: its session was. */
  drop(structure) {
    for (const name of ['made', 'undone']) {
      this[name].forEach(({ structures }) => structures.delete(structure));
      this[name] = this[name].filter(({ structures }) => structures.size);
    }
  }

  /** The structures whose last step is undone next, and `redo` the same for what is made again; null if there is none. */
  get nextUndo() {
    return this.made.at(-1)?.structures ?? null;
  }

  get nextRedo() {
    return this.undone.at(-1)?.structures ?? null;
  }

  wentBack() {
    this.undone.push(this.made.pop());
  }

  wentForward() {
    this.made.push(this.undone.pop());
  }

  /** Take the order from what the server knows: `[structure, {undo, redo}]`, each a list of `{at, batch}`, the next one
   * first. */
  restore(trails) {
    const merged = (kind, latestFirst) => {
      const all = trails.flatMap(([structure, trail]) => trail[kind].map(step => ({ structure, ...step })));
      all.sort((a, b) => (latestFirst ? a.at - b.at : b.at - a.at));
      const groups = [];
      for (const { structure, batch } of all) {
        const last = groups.at(-1);
        if (batch && last?.batch === batch) {
          last.structures.add(structure);
        } else {
          groups.push({ batch, structures: new Set([structure]) });
        }
      }
      return groups;
    };
    this.made = merged('undo', true);
    this.undone = merged('redo', false);
  }
}
