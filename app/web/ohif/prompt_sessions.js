// Prompt sessions at the server, one for each structure that is being labelled. A session knows one segment, as far as
// prompts made it; when someone has used a brush since (`edited`), the mask as it is now goes along with the next prompt.

import { packed } from './api.js';
import { only, readAll } from './masks.js';

const GONE = 404;

/** `work` below is `{caseId, model, labelmap}`: the model as the server describes it, and the label map over the case,
 * null if there is none yet. */
export class PromptSessions {
  constructor(api) {
    this.api = api;
    this.byStructure = new Map();
  }

  get any() {
    return this.byStructure.size > 0;
  }

  has(structure) {
    return this.byStructure.has(structure);
  }

  /** What to say of how far a prompt is; "" if it is another viewer's. */
  progress({ session: name, done, most }) {
    const ours = [...this.byStructure.values()].some(session => session.name === name);
    return ours ? `Segmenting: ${done} ${most === null ? '' : `of at most ${most} `}patches done…` : '';
  }

  closeAll() {
    for (const { id } of this.byStructure.values()) {
      this.api.closeSession(id).catch(() => {});
    }
    this.byStructure.clear();
  }

  /** The label map was changed by other means than prompts. */
  changedByHand(concerns) {
    for (const [structure, session] of this.byStructure) {
      session.edited ||= concerns(structure);
    }
  }

  /** The label map was replaced by an empty one. */
  emptied() {
    for (const session of this.byStructure.values()) {
      session.edited ||= session.prompted;
    }
  }

  /** The session of a structure, opened if there is none. */
  async of(structure, { caseId, model, labelmap }) {
    const known = this.byStructure.get(structure);
    if (known) {
      return known;
    }
    const { id, name } = await this.api.openSession(caseId, model.name);
    const edited = labelmap ? drawn(labelmap, structure).includes(1) : false;
    const session = { id, name, edited, prompted: false };
    this.byStructure.set(structure, session);
    return session;
  }

  /** Send a prompt, and before it what a brush has changed since the last one; gives what changed. */
  send(structure, prompt, work) {
    return this.#ask(structure, work, (session, brushed) => this.api.prompts(session.id, [...brushed, prompt]));
  }

  /** Start from a mask that the server has or makes, `{model}` or `{label_id}`; gives what changed. */
  start(structure, source, work) {
    return this.#ask(structure, work, async (session, brushed) => {
      if (brushed.length) {
        await this.api.prompts(session.id, brushed);
      }
      return this.api.start(session.id, source);
    });
  }

  async #ask(structure, work, request) {
    const ask = async () => {
      const session = await this.of(structure, work);
      const change = await request(session, edits(session, structure, work));
      Object.assign(session, { edited: false, prompted: true });
      return change;
    };
    return ask().catch(error => {
      if (error.status !== GONE) {
        throw error;
      }
      // The server has forgotten the session, to make room or because it is a new one. What it made is still here.
      this.byStructure.delete(structure);
      return ask();
    });
  }

  /** Undo the last prompt and return the change. Brush strokes since then count as one step. */
  async undo(structure, work) {
    const session = this.byStructure.get(structure);
    const brushed = edits(session, structure, work);
    if (brushed.length) {
      await this.api.prompts(session.id, brushed);
      session.edited = false;
    }
    return this.api.undo(session.id);
  }
}

function edits(session, structure, { model, labelmap }) {
  if (!session.edited || !model.accepts.includes('mask')) {
    return [];
  }
  return [{ type: 'mask', voxels: packed(drawn(labelmap, structure)) }];
}

const drawn = (labelmap, structure) => only(readAll(labelmap.slices, labelmap.shape), structure);
