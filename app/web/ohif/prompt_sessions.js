// Prompt sessions at the server, one for each structure that is being labelled.

import { packed } from './api.js';
import { boxAround, inBox, only } from './masks.js';

const GONE = 404;

/** `work` below is `{caseId, model, shape, known, nameOf}`: the model as the server describes it, the whole volume of segment
 * numbers as of the steps that were sent (null if there is none yet), and the name of a structure by its number. */
export class PromptSessions {
  /** `lost(structure)` is called when the server has forgotten a session. */
  constructor(api, lost) {
    this.api = api;
    this.lost = lost;
    this.byStructure = new Map();
  }

  get any() {
    return this.byStructure.size > 0;
  }

  get ids() {
    return [...this.byStructure.values()].map(({ id }) => id);
  }

  has(structure) {
    return this.byStructure.has(structure);
  }

  /** What to say of how far a prompt is; "" if it is another viewer's. */
  progress({ session: name, done, most }) {
    const ours = [...this.byStructure.values()].some(session => session.name === name);
    return ours ? `Segmenting: ${done} ${most === null ? '' : `of at most ${most} `}patches done…` : '';
  }

  /** Leave them as they are at the server. */
  forget() {
    this.byStructure.clear();
  }

  closeAll() {
    for (const { id } of this.byStructure.values()) {
      this.api.closeSession(id).catch(() => {});
    }
    this.forget();
  }

  /** Go on with a session that the server has. */
  resume(structure, { id, name }) {
    this.byStructure.set(structure, { id, name });
  }

  /** The session of a structure. A new one is told of the voxels that there are already. */
  async of(structure, { caseId, model, shape, known: drawn, nameOf }) {
    const known = this.byStructure.get(structure);
    if (known) {
      return known;
    }
    const { id, name } = await this.api.openSession(caseId, model.name, nameOf(structure));
    const session = { id, name };
    const voxels = drawn && only(drawn, structure);
    const box = voxels && boxAround(voxels, shape);
    if (box) {
      await this.api.edit(id, { ...box, voxels: packed(inBox(voxels, shape, box)) });
    }
    this.byStructure.set(structure, session);
    return session;
  }

  /** Each of these asks the session of a structure, opening it if need be, and gives what changed. */
  send(structure, prompt, work, batch) {
    return this.#ask(structure, work, ({ id }) => this.api.prompts(id, [prompt], batch));
  }

  /** `source` is a mask that the server has or makes: `{model}` or `{label_id}`. */
  start(structure, source, work, batch) {
    return this.#ask(structure, work, ({ id }) => this.api.start(id, { ...source, batch }));
  }

  /** `box` is `{low, high, voxels}`, a byte for each voxel in it. */
  edit(structure, { low, high, voxels }, work, batch, shown = false) {
    return this.#ask(structure, work, ({ id }) => this.api.edit(id, { low, high, voxels: packed(voxels), batch, shown }));
  }

  say(structure, said, work, batch) {
    return this.#ask(structure, work, ({ id }) => this.api.say(id, { said, batch }));
  }

  /** The same for a session that there is. */
  undo = structure => this.#move(structure, id => this.api.undo(id));
  redo = structure => this.#move(structure, id => this.api.redo(id));

  /** Have every step of these sessions on the server's disk. */
  async flush(structures) {
    for (const structure of structures) {
      const session = this.byStructure.get(structure);
      if (session) {
        await this.api.flush(session.id);
      }
    }
  }

  async #move(structure, ask) {
    try {
      return await ask(this.byStructure.get(structure).id);
    } catch (error) {
      if (error.status === GONE) {
        this.#forgetOne(structure);
      }
      throw error;
    }
  }

  async #ask(structure, work, request) {
    try {
      return await request(await this.of(structure, work));
    } catch (error) {
      if (error.status !== GONE || !this.has(structure)) {
        throw error;
      }
      // The server has forgotten the session, to make room or because it is a new one. What it made is still here.
      this.#forgetOne(structure);
      return request(await this.of(structure, work));
    }
  }

  #forgetOne(structure) {
    this.byStructure.delete(structure);
    this.lost(structure);
  }
}
