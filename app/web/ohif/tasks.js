// A queue of requests to the server: they run one after the other, in order, and the status line shows their progress.

export class Tasks {
  /** `changed()` is called whenever there is something else to show. */
  constructor(changed) {
    this.changed = changed;
    this.message = { text: 'Connecting…', problem: false };
    this.waiting = 0;
    this.line = Promise.resolve();
    this.warned = null;
  }

  /** Do `work` when everything before it is done. `doing` is said meanwhile ("" for what nobody waits for); afterwards
   * what `work` gives is, or its error. The promise is of the end, and never fails. */
  add(doing, work) {
    if (doing) {
      this.waiting += 1;
      this.#say({ text: doing, problem: false });
    }
    this.line = this.line.then(async () => {
      let message;
      try {
        const text = await work();
        message = text ? { text, problem: false } : this.message;
        this.warned = text ? null : this.warned;
      } catch (error) {
        message = { text: error.message, problem: true };
        if (!(error instanceof Error) || error.name === 'TypeError') {
          console.error(error);
        }
      }
      this.waiting -= doing ? 1 : 0;
      this.#say(message);
    });
    return this.line;
  }

  /** Say how far what is being done is, unless it is done by now. */
  tell(text) {
    if (text && this.waiting) {
      this.#say({ text, problem: false });
    }
  }

  /** True for the second request in a row; the first one shows a warning. */
  sureAbout(what, warning) {
    if (this.warned === what) {
      this.warned = null;
      return true;
    }
    this.warned = what;
    this.#say({ text: warning, problem: true });
    return false;
  }

  #say(message) {
    this.message = message;
    this.changed();
  }
}
