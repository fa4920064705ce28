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
      for (const id of skip ? this.#left() : []) {
        await this.api.release(id);
      }
      const found = await this.api.next(this.strategy);
      return found ? this.#go(found) : 'Every case has a label. There is nothing left to do.';
    });
  }

  /** The case that is open, and the one that was picked last if OHIF never came to show it: the server would only offer
   * that one again. */
  #left() {
    const open = this.labelling.opened?.id;
    const unseen = this.picked && (open ?? this.picked.before) === this.picked.before ? this.picked.id : undefined;
    return new Set([open, unseen].filter(Boolean));
  }

  #go({ case: one, reason }) {
    this.picked = { id: one.id, reason, before: this.labelling.opened?.id };
    if (one.id === this.labelling.opened?.id) {
      return `The next case is this one (${reason}). Submit it, or skip it to see another.`;
    }
    if (!one.series_uid) {
      return `Next is ${one.id} (${reason}), which OHIF can't show. Skip it.`;
    }
    this.viewer.open(one);
    return `Next case: ${reason}`;
  }
}
