// The case that is open, and what an annotator does with it: prompt, undo, segment, load a version, submit.

import { nameOf, readCase } from './cases.js';
import { readAll, withoutGaps } from './masks.js';
import { Models } from './models.js';
import { PromptSessions } from './prompt_sessions.js';
import { madeByModel, startsFrom } from './starts.js';
import { promptOf } from './stroke_prompts.js';
import { ABSENT, StructureStates, leftOut, needSomething } from './structure_states.js';
import { WorkingMask } from './working_mask.js';

const BRUSHES = new Set(['brush', 'eraser']);

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
    this.include = true;
    this.tool = 'look';
    this.wanted = 'look';
    this.unsaved = false;
    this.states = new StructureStates();
    this.sessions = new PromptSessions(api);
    this.mask = new WorkingMask(viewer, {
      changedByHand: concerns => {
        this.sessions.changedByHand(concerns);
        this.#touched(concerns);
        this.#now({ unsaved: true });
      },
      emptied: () => {
        this.sessions.emptied();
        this.#touched(() => true);
      },
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
      // OHIF begins every study with brightness and contrast on the first mouse button.
      this.choose(this.wanted);
      const { warnings } = this.opened.info;
      return warnings.length ? `Open, but: ${warnings.join('; ')}` : `Ready: ${nameOf(this.opened.info, 'no patient ID')}.`;
    });
  }

  #leave() {
    this.opened = null;
    this.history = [];
    this.unsaved = false;
    this.states.forget();
    this.#closeSessions();
  }

  /** Queued, because a pending response may still open one. */
  #closeSessions() {
    this.tasks.add('', async () => this.sessions.closeAll());
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

  // Tools

  choose(tool) {
    if (BRUSHES.has(tool)) {
      // OHIF's brush draws into a segment; there has to be one.
      this.tasks.add('', async () => {
        await this.#labelmap();
        this.viewer.use(tool);
      });
    } else {
      this.viewer.use(tool);
      this.#ready();
    }
    this.wanted = tool;
    this.#now({ tool });
  }

  /** OHIF gave the first mouse button to another tool. */
  took(tool) {
    if (tool !== this.tool) {
      this.#now({ tool });
    }
  }

  setInclude(include) {
    this.viewer.pen.include = include;
    this.#now({ include });
  }

  setStructure(number) {
    this.#now({ structure: number });
    this.viewer.choose(number);
    this.#ready();
  }

  nextStructure() {
    const numbers = this.structures.map(({ number }) => number);
    this.setStructure(numbers[(numbers.indexOf(this.structure) + 1) % numbers.length]);
  }

  /** What is said of a structure: `SEGMENTED`, `GUESSED`, `ABSENT` or `NOT_EXAMINED`. */
  stateOf(structure) {
    return this.states.of(structure);
  }

  get guesses() {
    return this.states.said(this.structures).guesses;
  }

  /** Mark a structure as absent, or no longer, or accept what a model made of it. */
  toggleState(number) {
    const structure = this.structures.find(one => one.number === number);
    if (this.opened && structure && this.states.toggle(structure)) {
      this.#now({ unsaved: true });
    }
  }

  /** Somebody has looked at everything that a model made. */
  acceptGuesses() {
    this.states.accept();
    this.#now({ unsaved: true });
  }

  /** Somebody changed the voxels of the segments that `concerns` names. */
  #touched(concerns) {
    this.states.changed(this.mask.filled(), this.structures, concerns);
  }

  setModel(name) {
    this.#closeSessions();
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
      if (this.opened && this.models.takes(this.tool)) {
        await this.sessions.of(this.structure, this.#work(this.viewer.labelmapOf(this.opened.series)));
      }
    });
  }

  #work(labelmap) {
    this.#needCase();
    return { caseId: this.opened.id, model: this.models.chosen, labelmap };
  }

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
        this.mask.lookForEdits(labelmap);
        const change = await this.sessions.send(structure, prompt, this.#work(labelmap));
        this.#needStill(labelmap);
        this.#paint(labelmap, change, structure);
        const seconds = ((performance.now() - begun) / 1000).toFixed(1);
        return change.region ? `Answered in ${seconds} s.` : `The model changed nothing (${seconds} s).`;
      } finally {
        this.viewer.wipe();
      }
    });
  }

  #paint(labelmap, change, structure) {
    if (this.mask.paint(labelmap, change, structure)) {
      this.unsaved = true;
      this.#touched(number => number === structure);
    }
  }

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
    if (this.#labelled(structure) && !this.#mayReplace(`start ${key} ${structure}`)) {
      return;
    }
    this.tasks.add(`Starting from ${text}…`, async () => {
      const labelmap = await this.#labelmap();
      const { name } = this.structures.find(({ number }) => number === structure);
      this.mask.lookForEdits(labelmap);
      const wanted = structures.length === 1 ? structures[0] : name;
      const change = await this.sessions.start(structure, { ...source, structure: wanted }, this.#work(labelmap));
      this.#needStill(labelmap);
      this.#paint(labelmap, change, structure);
      this.states.taken(name, guessed);
      return change.region ? `This is ${wanted} from ${text}. Correct it with prompts.` : `Nothing new: ${text}.`;
    });
  }

  /** Whether anything on the screen belongs to a structure. */
  #labelled(structure) {
    const labelmap = this.opened && this.viewer.labelmapOf(this.opened.series);
    return Boolean(labelmap) && readAll(labelmap.slices, labelmap.shape).includes(structure);
  }

  undo() {
    const { structure } = this;
    this.tasks.add('Undoing…', async () => {
      if (!this.sessions.has(structure)) {
        return 'There is no prompt to take back. Ctrl+Z takes back a stroke of the brush.';
      }
      const labelmap = await this.#labelmap();
      this.mask.lookForEdits(labelmap);
      const change = await this.sessions.undo(structure, this.#work(labelmap));
      this.#needStill(labelmap);
      this.#paint(labelmap, change, structure);
      return change.undone ? 'Taken back.' : 'Nothing more can be taken back.';
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
      this.#replace(labelmap, voxels, pairs, { guessed: true, absent: [] });
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
      this.#replace(
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

  #replace(labelmap, voxels, pairs, said) {
    this.mask.replace(labelmap, voxels, pairs);
    this.structures = labelmap.segments();
    this.states.changed(this.mask.filled(), this.structures, () => true);
    this.states.replaced(this.structures, said);
  }

  submit(comment) {
    return this.tasks.add('Submitting…', async () => {
      const labelmap = await this.#labelmap();
      this.mask.lookForEdits(labelmap);
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
        model: this.sessions.any ? this.models.prompted : '',
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
