// Which case comes next, and how many have a label.

export class Worklist {
  /** `labelling` knows which case is open. `changed()` is called when there is something else to show. */
  constructor(api, viewer, tasks, labelling, changed) {
    this.api = api;
    this.viewer = viewer;
    this.tasks = tasks;
    this.labelling = labelling;
    this.changed = changed;
    this.connected = false;
    this.progress = { total: 0, completed: 0 };
    this.strategies = [];
    this.strategy = '';
    this.picked = null;
  }

  connect({ progress, strategies, default_strategy: strategy }) {
    Object.assign(this, { connected: true, progress, strategies, strategy });
  }

  setStrategy(strategy) {
    this.strategy = strategy;
    this.changed();
  }

  progressed(progress) {
    this.progress = progress;
    this.changed();
  }

  /** Ask for another case and go there. With `skip`, give the one that is open back to others first. */
  next(skip = false) {
    const { labelling, tasks } = this;
    if (
      labelling.unsaved &&
      !tasks.sureAbout('next', 'This case has changes that were not submitted. Press once more to leave them.')
    ) {
      return;
    }
    tasks.add('Looking for the next case…', async () => {
      if (skip && labelling.opened) {
        await this.api.release(labelling.opened.id);
      }
      const found = await this.api.next(this.strategy);
      return found ? this.#go(found) : 'Every case has a label. There is nothing left to do.';
    });
  }

  #go({ case: one, reason }) {
    this.picked = { id: one.id, reason };
    if (one.kind !== 'series') {
      return `Next is ${one.id} (${reason}), a volume file. OHIF shows DICOM only: open it in 3D Slicer, or skip it.`;
    }
    if (one.id === this.labelling.opened?.id) {
      return `The next case is this one (${reason}). Submit it, or skip it to see another.`;
    }
    this.labelling.unsaved = false;
    this.viewer.open(one);
    return `Next case: ${reason}`;
  }
}
