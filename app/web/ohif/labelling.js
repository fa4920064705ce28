// The case that is open, and what an annotator does with it: prompt, undo, segment, load a version, submit.

import { nameOf, readCase } from './cases.js';
import { Draft } from './draft.js';
import { readAll, withoutGaps } from './masks.js';
import { Models } from './models.js';
import { madeByModel, startsFrom } from './starts.js';
import { promptOf } from './stroke_prompts.js';
import { ABSENT, StructureStates, leftOut, needSomething } from './structure_states.js';
import { Tools } from './tools.js';
import { WorkingMask } from './working_mask.js';

export class Labelling {
  /** `changed()` is called when there is something else to show. */
  constructor(api, viewer, tasks, changed) {
    this.api = api;
    this.viewer = viewer;
    this.tasks = tasks;
    this.changed = changed;
    this.models = new Models();
    this.names = [];
    this.opened = null;
    this.history = [];
    this.structures = [];
    this.structure = 1;
    this.unsaved = false;
    this.states = new StructureStates();
    this.tools = new Tools(viewer, tasks, {
      labelmap: () => this.#labelmap(),
      chosen: () => this.#ready(),
      changed,
    });
    this.mask = new WorkingMask(viewer, {
      changedByHand: numbers => {
        this.#touched(number => numbers.has(number));
        this.#save();
      },
      emptied: () => {
        if (this.draft.undoable) {
          this.draft.restart();
        }
        this.#touched(() => true);
      },
    });
    this.draft = new Draft(api, {
      mask: this.mask,
      tasks,
      changed,
      work: () => this.opened && this.#work(),
      heard: (number, said) => this.states.heard(this.#nameOf(number), said),
    });
  }

  connect(server) {
    this.models.connect(server);
    this.names = server.structures;
    this.structures = numbered(this.names);
  }

  // The case

  /** Another series is in the active viewport; null for none. */
  shown(shown) {
    if (shown?.series === this.opened?.series) {
      return;
    }
    this.#leave();
    if (!shown) {
      this.changed();
      return;
    }
    this.tasks.add('Opening the case…', async () => {
      this.opened = await readCase(this.api, shown.series);
      this.structures = numbered(this.names);
      this.structure = Math.min(this.structure, this.structures.length) || 1;
      await this.#readHistory();
      const resumed = await this.#resume();
      this.tools.chooseAgain();
      const { warnings } = this.opened.info;
      const ready = `Ready: ${nameOf(this.opened.info, 'no patient ID')}.`;
      return (warnings.length ? `Open, but: ${warnings.join('; ')}` : ready) + resumed;
    });
  }

  #leave() {
    const { unsaved } = this;
    this.opened = null;
    this.history = [];
    this.unsaved = false;
    this.states.forget();
    // Queued, because a pending response may still open a session.
    this.tasks.add('', async () => this.draft.leave(unsaved));
  }

  /** Show what was drawn on the case and not submitted; gives what to say of it. */
  async #resume() {
    const draft = await this.draft.find(this.opened.id);
    if (!draft) {
      return '';
    }
    const labelmap = await this.#labelmap();
    await this.draft.resume(draft, labelmap);
    this.structures = labelmap.segments();
    this.#touched(() => true);
    draft.parts.forEach(({ structure, said }) => this.states.heard(structure, said));
    this.models.prompted = draft.parts[0].model;
    this.unsaved = true;
    return ` Your draft of ${new Date(draft.used).toLocaleString()} goes on here.`;
  }

  /** Someone has stored a label. */
  stored({ case_id: caseId }) {
    if (caseId === this.opened?.id) {
      this.tasks.add('', () => this.#readHistory());
    }
  }

  async #readHistory() {
    if (this.opened) {
      this.history = await this.api.labels(this.opened.id);
    }
  }

  // Structures and models

  setStructure(number) {
    this.#now({ structure: number });
    this.viewer.choose(number);
    this.#ready();
  }

  nextStructure() {
    const numbers = this.structures.map(({ number }) => number);
    this.setStructure(numbers[(numbers.indexOf(this.structure) + 1) % numbers.length]);
  }

  get guesses() {
    return this.states.said(this.structures).guesses;
  }

  /** Mark a structure as absent, or no longer, or accept what a model made of it. */
  toggleState(number) {
    const structure = this.structures.find(one => one.number === number);
    if (this.opened && structure && this.states.toggle(structure)) {
      this.draft.say(number, this.states.saidOf(structure));
      this.#save();
    }
  }

  /** Somebody has looked at everything that a model made. */
  acceptGuesses() {
    this.guesses.forEach(({ number }) => this.draft.say(number, ''));
    this.states.accept();
    this.#save();
  }

  /** Have what was drawn sent. */
  #save() {
    this.unsaved = true;
    this.draft.saving.drawn();
    this.tasks.add('', () => this.draft.send());
  }

  /** Somebody changed the voxels of the segments that `concerns` names. */
  #touched(concerns) {
    const labelmap = this.opened && this.viewer.labelmapOf(this.opened.series);
    this.states.changed(this.mask.filled(labelmap), this.structures, concerns);
  }

  setModel(name) {
    this.tasks.add('', async () => this.draft.restart());
    this.models.prompted = name;
    this.changed();
    this.#ready();
  }

  setAutomatic(name) {
    this.models.segmenting = name;
    this.changed();
  }

  // Prompts

  /** Open the session before the first prompt: a model may need a moment to look at the image. */
  #ready() {
    this.tasks.add('', async () => {
      if (this.opened && this.models.takes(this.tools.tool)) {
        await this.draft.sessions.of(this.structure, this.#work());
      }
    });
  }

  #work() {
    this.#needCase();
    const { id, series, grid } = this.opened;
    const labelmap = this.viewer.labelmapOf(series);
    const known = labelmap && this.mask.known;
    return { caseId: id, model: this.models.chosen, shape: grid.shape, labelmap, known, nameOf: this.#nameOf };
  }

  #nameOf = number => this.structures.find(one => one.number === number)?.name ?? `Segment ${number}`;

  /** A prompt was drawn on the images. */
  drawn(stroke) {
    const { structure } = this;
    this.tasks.add('Segmenting…', async () => {
      try {
        const prompt = this.#promptOf(stroke);
        if (!prompt) {
          return 'That was outside the image.';
        }
        const begun = performance.now();
        const labelmap = await this.#labelmap();
        await this.draft.send();
        const change = await this.draft.prompt(structure, prompt, this.#painting(labelmap, structure));
        const seconds = ((performance.now() - begun) / 1000).toFixed(1);
        return change.region ? `Answered in ${seconds} s.` : `The model changed nothing (${seconds} s).`;
      } finally {
        this.viewer.wipe();
      }
    });
  }

  #painting = (labelmap, structure) => change => {
    this.#needStill(labelmap);
    if (this.mask.paint(labelmap, change, structure)) {
      this.unsaved = true;
      this.#touched(number => number === structure);
    }
  };

  #promptOf(stroke) {
    this.#needCase();
    const { prompted, takes } = this.models;
    if (!takes(stroke.kind)) {
      throw new Error(`${prompted || 'This server'} does not take a ${stroke.kind}. Choose another tool or model.`);
    }
    return promptOf(stroke, this.opened.grid);
  }

  #needCase() {
    if (!this.opened) {
      throw new Error('There is no case of this server in the active viewport.');
    }
  }

  /** A response may arrive after its case was left, or its label map removed in OHIF's own table. */
  #needStill(labelmap) {
    if (!this.opened || this.viewer.labelmapOf(this.opened.series) !== labelmap) {
      throw new Error('The answer came too late: what it belongs to is no longer open.');
    }
  }

  async #labelmap() {
    this.#needCase();
    const labelmap = await this.mask.over(
      this.opened,
      this.structures.map(({ name }) => name)
    );
    this.structures = labelmap.segments();
    this.viewer.choose(this.structure);
    return labelmap;
  }

  /** Someone draws in the label map with OHIF's tools. */
  edited() {
    this.mask.edited(() => this.opened && this.viewer.labelmapOf(this.opened.series));
  }

  /** What a structure can start from. */
  get starts() {
    return this.models.takes('mask') ? startsFrom(this.models.automatic, this.history) : [];
  }

  /** A model's mask of the chosen structure, or a stored version's, becomes that of its session: prompts correct it. */
  startFrom({ key, text, source, structures, guessed }) {
    const { structure } = this;
    if (this.states.filled.has(structure) && !this.#mayReplace(`start ${key} ${structure}`)) {
      return;
    }
    this.tasks.add(`Starting from ${text}…`, async () => {
      const labelmap = await this.#labelmap();
      const { name } = this.structures.find(({ number }) => number === structure);
      await this.draft.send();
      const wanted = structures.length === 1 ? structures[0] : name;
      const painting = this.#painting(labelmap, structure);
      const change = await this.draft.start(structure, { ...source, structure: wanted }, guessed, painting);
      this.states.taken(name, guessed);
      return change.region ? `This is ${wanted} from ${text}. Correct it with prompts.` : `Nothing new: ${text}.`;
    });
  }

  /** Take the last step back: a prompt, a stroke of the brush, a start, or what was said of a structure. */
  undo() {
    this.#move('Undoing…', paint => this.draft.undo(paint), 'Taken back.', 'Nothing more can be taken back.');
  }

  redo() {
    this.#move('Redoing…', paint => this.draft.redo(paint), 'Made again.', 'Nothing was taken back.');
  }

  #move(doing, move, done, nothing) {
    this.tasks.add(doing, async () => {
      const labelmap = await this.#labelmap();
      await this.draft.send();
      return (await move((change, structure) => this.#painting(labelmap, structure)(change))) ? done : nothing;
    });
  }

  // Whole label maps

  segment() {
    if (!this.#mayReplace('segment')) {
      return;
    }
    const model = this.models.segmenting;
    this.tasks.add(`${model} segments…`, async () => {
      const labelmap = await this.#labelmap();
      const { labels, voxels } = await this.api.segment(this.opened.id, model);
      this.#needStill(labelmap);
      const pairs = Object.entries(labels).map(([name, number]) => [number, name]);
      await this.#replace(labelmap, voxels, pairs, { guessed: true, absent: [] });
      return `${model} is done. Correct or accept what it made, then submit.`;
    });
  }

  /** Take a stored version as the start for more work. */
  take(label) {
    if (!this.#mayReplace(`take ${label.id}`)) {
      return;
    }
    this.tasks.add(`Loading version ${label.number}…`, async () => {
      const labelmap = await this.#labelmap();
      const { structures, voxels } = await this.api.labelVoxels(label.id);
      this.#needStill(labelmap);
      await this.#replace(
        labelmap,
        voxels,
        structures.map((name, n) => [n + 1, name]),
        {
          guessed: madeByModel(label),
          absent: Object.keys(label.states).filter(name => label.states[name] === ABSENT),
        }
      );
      this.unsaved = false;
      return `This is version ${label.number} by ${label.author}.`;
    });
  }

  #mayReplace(what) {
    const warning = 'This replaces what is labelled and not submitted. Press once more to do it.';
    return !this.unsaved || this.tasks.sureAbout(what, warning);
  }

  async #replace(labelmap, voxels, pairs, said) {
    await this.draft.send();
    this.mask.replace(labelmap, voxels, pairs);
    this.structures = labelmap.segments();
    this.#touched(() => true);
    this.states.replaced(this.structures, said);
    this.structures.forEach(one => this.states.saidOf(one) && this.draft.say(one.number, this.states.saidOf(one)));
    await this.draft.send();
    this.unsaved = true;
  }

  submit(comment) {
    return this.tasks.add('Submitting…', async () => {
      const labelmap = await this.#labelmap();
      await this.draft.send();
      // Segments may have been removed in OHIF's own table.
      const said = this.states.said(this.structures);
      const { segmented, absent, guesses } = said;
      needSomething(said);
      if (guesses.length && !this.tasks.sureAbout('submit', leftOut(guesses))) {
        return undefined;
      }
      const sent = withoutGaps(
        readAll(labelmap.slices, labelmap.shape),
        segmented.map(({ number }) => number)
      );
      const stored = await this.api.submit(this.opened.id, sent, {
        structures: segmented.map(({ name }) => name),
        absent: absent.map(({ name }) => name),
        comment,
        sessions: this.draft.sessions.ids,
        model: this.draft.sessions.any ? this.models.prompted : '',
      });
      this.unsaved = false;
      await this.#readHistory();
      return `Stored as version ${stored.number}.`;
    });
  }

  #now(fields) {
    Object.assign(this, fields);
    this.changed();
  }
}

const numbered = names => names.map((name, n) => ({ number: n + 1, name }));
