// What is drawn on a case and not submitted yet, as the server has it: each change is a step in the session of its
// structure, so that it can be undone, and is found again when the case is opened the next time.

import { boxOf, readAll, slicesOf } from './masks.js';
import { PromptSessions } from './prompt_sessions.js';
import { Saving } from './saving.js';
import { StepOrder, newBatch } from './step_order.js';

const GUESSED = 'guessed';

export class Draft {
  /** `work()` gives what `PromptSessions` needs and the `labelmap`, null before there is one;
   * `heard(structure, said)` is called with what the server says of a structure. */
  constructor(api, { mask, tasks, work, heard, changed }) {
    this.api = api;
    this.mask = mask;
    this.work = work;
    this.heard = heard;
    this.order = new StepOrder();
    this.unsaid = new Map();
    this.sessions = new PromptSessions(api, structure => this.order.drop(structure));
    this.saving = new Saving({
      flush: structures => this.sessions.flush(structures),
      resend: () => tasks.add('', () => this.send()),
      changed,
    });
  }

  forget() {
    this.order.forget();
    this.unsaid = new Map();
    this.saving.forget();
  }

  /** Leave the case. What was submitted, or never begun, needs no sessions any more. */
  leave(unfinished) {
    if (unfinished) {
      this.sessions.forget();
    } else {
      this.sessions.closeAll();
    }
    this.forget();
  }

  /** Begin anew with other sessions, of another model: they are told what is shown. */
  restart() {
    this.sessions.closeAll();
    this.order.forget();
  }

  /** Send what was drawn by hand since the last time, and what is said since, as one batch. */
  async send() {
    const work = this.work();
    const { labelmap } = work ?? {};
    const boxes = labelmap ? this.mask.changes(labelmap) : new Map();
    if (!boxes.size && !this.unsaid.size) {
      this.saving.nothing();
      return;
    }
    const [shown, said] = [labelmap && readAll(labelmap.slices, labelmap.shape), this.unsaid];
    this.unsaid = new Map();
    try {
      await this.#step(new Set([...boxes.keys(), ...said.keys()]), async (structure, batch) => {
        const box = boxes.get(structure);
        if (box) {
          const voxels = boxOf(slicesOf(shown, labelmap.shape), labelmap.shape, box, value => +(value === structure));
          await this.sessions.edit(structure, { ...box, voxels }, work, batch);
        }
        if (said.has(structure)) {
          await this.sessions.say(structure, said.get(structure), work, batch);
        }
      });
    } catch (error) {
      this.unsaid = new Map([...said, ...this.unsaid]);
      this.saving.notSent();
      throw error;
    }
    this.mask.settle(labelmap, boxes.values(), shown);
    // Somebody may have drawn on meanwhile.
    await this.send();
  }

  /** A prompt for a structure; gives what changed, once `paint(change)` has shown it. */
  prompt(structure, prompt, paint) {
    return this.#answered(structure, paint, (work, batch) => this.sessions.send(structure, prompt, work, batch));
  }

  /** Start a structure from `{model}` or `{label_id}`; `guessed`: a model made it, and nobody has looked at it. */
  start(structure, source, guessed, paint) {
    return this.#answered(structure, paint, async (work, batch) => {
      const change = await this.sessions.start(structure, source, work, batch);
      if (guessed) {
        await this.sessions.say(structure, GUESSED, work, batch);
      }
      return change;
    });
  }

  /** What is said of a structure now, to be sent: `absent`, `guessed`, or "" for what its voxels say. */
  say(structure, said) {
    this.unsaid.set(structure, said);
    this.saving.drawn();
  }

  get undoable() {
    return this.order.made.length;
  }

  get redoable() {
    return this.order.undone.length;
  }

  /** Take the last step back, in each structure that it changed; false if there is none. */
  undo(paint) {
    return this.#move(this.order.nextUndo, this.sessions.undo, 'undone', paint, () => this.order.wentBack());
  }

  /** Make the step again that was taken back last; false if there is none. */
  redo(paint) {
    return this.#move(this.order.nextRedo, this.sessions.redo, 'redone', paint, () => this.order.wentForward());
  }

  /** The draft that the server has of a case, null if there is none. */
  find(caseId) {
    return this.api.draft(caseId);
  }

  /** Go on with a draft and show it in the label map. */
  async resume({ parts }, labelmap) {
    const shown = new Uint8Array(this.mask.known.length);
    const trails = [];
    for (const part of parts) {
      const structure = this.mask.segmentOf(labelmap, part.structure);
      const voxels = await this.api.sessionMask(part.id);
      voxels.forEach((value, n) => value && (shown[n] = structure));
      this.sessions.resume(structure, part);
      trails.push([structure, part]);
    }
    this.mask.replace(labelmap, shown, labelmap.segments().map(({ number, name }) => [number, name]), true);
    this.order.restore(trails);
    this.saving.restored();
  }

  async #answered(structure, paint, request) {
    let change;
    await this.#step([structure], async (_, batch) => {
      const work = this.work();
      change = await request(work, batch);
      paint(change);
      const { region } = change;
      const shown = region && this.mask.shownIn(work.labelmap, region, structure);
      if (shown && shown.some((value, n) => value !== change.voxels[n])) {
        // Other structures kept their voxels: what is shown is what is found again.
        await this.sessions.edit(structure, { ...region, voxels: shown }, work, batch, true);
      }
    });
    return change;
  }

  /** One step in each of some structures, undone together. */
  async #step(structures, make) {
    const batch = newBatch();
    this.saving.drawn();
    const made = [];
    try {
      for (const structure of structures) {
        await make(structure, batch);
        this.order.add(batch, structure);
        made.push(structure);
      }
    } finally {
      this.saving.sent(made);
    }
  }

  async #move(structures, ask, word, paint, moved) {
    if (!structures) {
      return false;
    }
    const changes = new Map();
    for (const structure of structures) {
      changes.set(structure, await ask(structure));
    }
    // Twice: what a structure gets back may still belong to another one, which is to give it up.
    for (const again of [false, true]) {
      changes.forEach((change, structure) => paint(change, structure, again));
    }
    changes.forEach(({ said }, structure) => this.heard(structure, said));
    moved();
    this.saving.sent([...structures]);
    return [...changes.values()].some(change => change[word]);
  }
}
