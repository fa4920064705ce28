// Whether what was drawn is on the server's disk. Says so truthfully: "saved" is what the server has flushed.

export const SAVING = 'saving';
export const SAVED = 'saved';
export const FAILED = 'failed';
export const NOTHING = '';

// Milliseconds from a step to its flush, and from a failure to the next try.
const FLUSH_AFTER = 300;
const AGAIN = 5000;

export class Saving {
  /** `flush(structures)` has the steps of these structures flushed; `resend()` sends what couldn't be sent. */
  constructor({ flush, resend, changed }) {
    this.flush = flush;
    this.resend = resend;
    this.changed = changed;
    this.forget();
  }

  forget() {
    clearTimeout(this.timer);
    this.structures = new Set();
    this.unsent = false;
    this.flushing = false;
    this.failed = false;
    this.any = false;
    this.round = (this.round ?? 0) + 1;
  }

  get state() {
    if (this.failed) {
      return FAILED;
    }
    if (this.unsent || this.flushing || this.structures.size) {
      return SAVING;
    }
    return this.any ? SAVED : NOTHING;
  }

  /** Something was changed that the server hasn't heard of. */
  drawn() {
    this.unsent = true;
    this.any = true;
    this.changed();
  }

  /** The server has everything; its steps of these structures may not be flushed yet. */
  sent(structures) {
    this.unsent = false;
    this.failed = false;
    this.any = true;
    structures.forEach(structure => this.structures.add(structure));
    this.#later(FLUSH_AFTER, () => this.#flush());
    this.changed();
  }

  /** There was nothing to send. */
  nothing() {
    if (this.unsent || this.failed) {
      this.sent([]);
    }
  }

  /** What a draft consists of was on the disk before. */
  restored() {
    this.any = true;
  }

  /** A request failed: try again by and by. */
  notSent() {
    this.failed = true;
    this.#later(AGAIN, () => this.resend());
    this.changed();
  }

  async #flush() {
    const { round } = this;
    const now = this.structures;
    this.structures = new Set();
    this.flushing = now.size > 0;
    let flushed = true;
    try {
      await this.flush([...now]);
    } catch {
      flushed = false;
    }
    if (round !== this.round) {
      return;
    }
    this.flushing = false;
    this.failed = !flushed;
    if (!flushed) {
      now.forEach(structure => this.structures.add(structure));
      this.#later(AGAIN, () => this.#flush());
    }
    this.changed();
  }

  #later(milliseconds, work) {
    clearTimeout(this.timer);
    this.timer = setTimeout(work, milliseconds);
  }
}
