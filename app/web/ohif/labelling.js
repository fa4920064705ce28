// What an annotator does with the case that is open: prompt, undo, segment, submit, go on. No page in here; what is seen is
// made from this object's fields whenever `changed` is called.
//
// The label map in the viewer is the truth: what is seen is what is submitted. A session at the server knows one segment,
// as far as prompts made it; when someone has used a brush since, the mask as it is now goes along with the next prompt.
// What a brush did is found by comparing with `known`, the label map as this object last left it: OHIF says that something
// changed also when nothing did.
// Everything that asks the server happens one after the other, in the order in which it was asked for.

import { packed } from './api.js';
import { Grid, flatAxis, voxelsInsideLine } from './geometry.js';
import { differences, only, paintBox, readAll, slicesOf, writeAll } from './masks.js';

const GONE = 404;
// In voxels: a line that is seen in the slice it was drawn in, and reaches no other.
const SCRIBBLE_RADIUS = 0.75;

// Milliseconds after a stroke of a brush.
const LOOK_AFTER = 200;

export class Labelling {
  constructor(api, viewer) {
    this.api = api;
    this.viewer = viewer;
    this.changed = () => {};
    this.server = null;
    this.progress = { total: 0, completed: 0 };
    this.opened = null;
    this.picked = null;
    this.history = [];
    this.jobs = new Map();
    this.structures = [];
    this.structure = 1;
    this.include = true;
    this.tool = 'look';
    this.wanted = 'look';
    this.model = '';
    this.automatic = '';
    this.strategy = '';
    this.unsaved = false;
    this.known = null;
    this.touched = false;
    this.looking = 0;
    this.waiting = 0;
    this.message = { text: 'Connecting…', problem: false };
    this.sessions = new Map();
    this.line = Promise.resolve();
    this.sure = null;
  }

  get interactiveModels() {
    return (this.server?.models ?? []).filter(model => model.accepts.length);
  }

  get automaticModels() {
    return (this.server?.models ?? []).filter(model => !model.accepts.length);
  }

  get trainableModels() {
    return (this.server?.models ?? []).filter(model => model.trainable);
  }

  /** Whether the model takes what a tool draws. */
  takes(tool) {
    return this.#chosen?.accepts.includes(tool) ?? false;
  }

  get #chosen() {
    return this.interactiveModels.find(model => model.name === this.model);
  }

  async connect() {
    await this.#inLine('Connecting…', async () => {
      this.server = await this.api.server();
      this.progress = this.server.progress;
      this.model = this.server.default_model ?? this.interactiveModels[0]?.name ?? '';
      this.automatic = (this.automaticModels.find(model => model.ready) ?? this.automaticModels[0])?.name ?? '';
      this.strategy = this.server.default_strategy;
      this.structures = this.server.structures.map((name, n) => ({ number: n + 1, name }));
      return 'Connected.';
    });
    if (!this.server) {
      return;
    }
    this.api.events({
      progress: progress => progress && this.#now({ progress }),
      job: job => this.#now({ jobs: new Map(this.jobs).set(job.id, job) }),
      label: label => label.case_id === this.opened?.id && this.#inLine('', () => this.#readHistory()),
    });
    this.viewer.listen({
      shown: shown => this.#shown(shown),
      edited: () => this.#edited(),
      drawn: stroke => this.#drawn(stroke),
      took: tool => tool !== this.tool && this.#now({ tool }),
    });
  }

  // The case

  #shown(shown) {
    if (shown?.series === this.opened?.id) {
      return;
    }
    this.#leave();
    if (!shown) {
      this.#now({ opened: null });
      return;
    }
    this.#inLine('Opening the case…', async () => {
      const [info, geometry] = await Promise.all([this.api.oneCase(shown.series), this.api.geometry(shown.series)]);
      this.opened = { id: shown.series, info, grid: new Grid(geometry), slices: geometry.slices };
      this.structures = this.server.structures.map((name, n) => ({ number: n + 1, name }));
      this.structure = Math.min(this.structure, this.structures.length) || 1;
      await this.#readHistory();
      // OHIF begins every study with brightness and contrast on the first mouse button.
      this.choose(this.wanted);
      return info.warnings.length ? `Open, but: ${info.warnings.join('; ')}` : 'Ready.';
    });
  }

  #leave() {
    for (const { id } of this.sessions.values()) {
      this.api.closeSession(id).catch(() => {});
    }
    this.sessions.clear();
    this.opened = null;
    this.history = [];
    this.unsaved = false;
  }

  async #readHistory() {
    if (this.opened) {
      this.history = await this.api.labels(this.opened.id);
    }
  }

  /** Ask for another case and go there. With `skip`, give the one that is open back to others first. */
  next(skip = false) {
    if (
      this.unsaved &&
      !this.#sureAbout('next', 'This case has changes that were not submitted. Press once more to leave them.')
    ) {
      return;
    }
    this.#inLine('Looking for the next case…', async () => {
      if (skip && this.opened) {
        await this.api.release(this.opened.id);
      }
      const found = await this.api.next(this.strategy);
      if (!found) {
        return 'Every case has a label. There is nothing left to do.';
      }
      const { case: one, reason } = found;
      this.picked = { id: one.id, reason };
      if (one.kind !== 'series') {
        return `Next is ${one.id} (${reason}), a volume file. OHIF shows DICOM only: open it in 3D Slicer, or skip it.`;
      }
      if (one.id === this.opened?.id) {
        return `The next case is this one: ${reason}`;
      }
      this.unsaved = false;
      this.viewer.open(one);
      return `Next case: ${reason}`;
    });
  }

  // Prompts

  choose(tool) {
    if (tool === 'brush' || tool === 'eraser') {
      // OHIF's brush draws into a segment; there has to be one.
      this.#inLine('', async () => {
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

  setInclude(include) {
    this.viewer.pen.include = include;
    this.#now({ include });
  }

  setStructure(number) {
    this.#now({ structure: number });
    this.viewer.choose(number);
    this.#ready();
  }

  setModel(model) {
    this.#leaveSessions();
    this.#now({ model });
    this.#ready();
  }

  #leaveSessions() {
    for (const session of this.sessions.values()) {
      this.api.closeSession(session.id).catch(() => {});
    }
    this.sessions.clear();
  }

  /** Open the session before the first prompt: a model may need a moment to look at the image. */
  #ready() {
    if (this.opened && this.takes(this.tool) && !this.sessions.has(this.structure)) {
      this.#inLine('', () => this.#session(this.structure).then(() => undefined));
    }
  }

  #drawn(stroke) {
    const { structure } = this;
    this.#inLine('Segmenting…', async () => {
      try {
        const prompt = this.#promptOf(stroke);
        if (!prompt) {
          return 'That was outside the image.';
        }
        const begun = performance.now();
        const change = await this.#answered(structure, prompt);
        const seconds = ((performance.now() - begun) / 1000).toFixed(1);
        return change.region ? `Answered in ${seconds} s.` : `The model changed nothing (${seconds} s).`;
      } finally {
        this.viewer.wipe();
      }
    });
  }

  #promptOf({ kind, include, worlds }) {
    if (!this.opened) {
      throw new Error('There is no case of this server in the active viewport.');
    }
    if (!this.takes(kind)) {
      throw new Error(`${this.model || 'This server'} does not take a ${kind}. Choose another tool or model.`);
    }
    const { grid } = this.opened;
    if (kind === 'point') {
      const at = grid.voxelAt(worlds[0]);
      return at && { type: 'point', at, include };
    }
    if (kind === 'box') {
      const box = grid.boxAround(worlds);
      return box && { type: 'box', ...box, include };
    }
    const points = worlds.map(world => grid.toIndex(world));
    if (kind === 'scribble') {
      return points.some(point => grid.contains(point))
        ? { type: 'polyline_scribble', points, radius: SCRIBBLE_RADIUS, include }
        : null;
    }
    if (points.length < 3) {
      throw new Error('A lasso is a closed line: hold the button and draw around something.');
    }
    const axis = flatAxis(points);
    if (axis !== null) {
      return points.some(point => grid.contains(point)) ? { type: 'polygon_lasso', axis, points, include } : null;
    }
    // To a server a lasso lies in one slice. On a plane at an angle, what is inside is as good as painted over.
    if (!this.takes('scribble')) {
      throw new Error('This plane lies across the slices of the image, and the model takes a lasso in one slice only.');
    }
    const filled = voxelsInsideLine(grid, worlds);
    return filled && { type: 'scribble', low: filled.low, high: filled.high, voxels: packed(filled.voxels), include };
  }

  /** Send a prompt, and what a brush has changed since the last one, and paint the answer. */
  async #answered(structure, prompt) {
    const labelmap = await this.#labelmap();
    this.#lookForEdits(labelmap);
    const ask = async () => {
      const session = await this.#session(structure);
      const change = await this.api.prompts(session.id, [...this.#edits(session, structure, labelmap), prompt]);
      session.edited = false;
      return change;
    };
    const change = await ask().catch(error => {
      if (error.status !== GONE) {
        throw error;
      }
      // The server has forgotten the session, to make room or because it is a new one. What it made is still here.
      this.sessions.delete(structure);
      return ask();
    });
    this.#paint(labelmap, change, structure);
    return change;
  }

  #edits(session, structure, labelmap) {
    if (!session.edited || !this.#chosen.accepts.includes('mask')) {
      return [];
    }
    return [{ type: 'mask', voxels: packed(only(readAll(labelmap.slices, labelmap.shape), structure)) }];
  }

  #paint(labelmap, { region, voxels }, structure) {
    if (region) {
      paintBox(slicesOf(this.known, labelmap.shape), labelmap.shape, region, voxels, structure);
      labelmap.changed(paintBox(labelmap.slices, labelmap.shape, region, voxels, structure));
      this.unsaved = true;
    }
  }

  async #session(structure) {
    const known = this.sessions.get(structure);
    if (known) {
      return known;
    }
    const { id } = await this.api.openSession(this.opened.id, this.model);
    const labelmap = this.viewer.labelmapOf(this.opened.id);
    const drawn = labelmap ? only(readAll(labelmap.slices, labelmap.shape), structure).includes(1) : false;
    const session = { id, edited: drawn };
    this.sessions.set(structure, session);
    return session;
  }

  async #labelmap() {
    if (!this.opened) {
      throw new Error('There is no case of this server in the active viewport.');
    }
    const { id, grid, slices } = this.opened;
    const before = this.viewer.labelmapOf(id);
    const labelmap = await this.viewer.labelmapFor(
      id,
      grid,
      slices,
      this.structures.map(({ name }) => name)
    );
    if (labelmap !== before) {
      this.known = readAll(labelmap.slices, labelmap.shape);
    }
    this.structures = labelmap.segments();
    this.viewer.choose(this.structure);
    return labelmap;
  }

  #edited() {
    this.touched = true;
    clearTimeout(this.looking);
    this.looking = setTimeout(
      () => this.opened && this.#lookForEdits(this.viewer.labelmapOf(this.opened.id)),
      LOOK_AFTER
    );
  }

  #lookForEdits(labelmap) {
    if (!this.touched || !labelmap) {
      return;
    }
    this.touched = false;
    const numbers = differences(labelmap.slices, labelmap.shape, this.known);
    if (numbers.size) {
      this.#changedByHand(labelmap, number => numbers.has(number));
    }
  }

  /** The label map was changed by other means than prompts; the sessions of these segments don't know. */
  #changedByHand(labelmap, concerns) {
    this.known = readAll(labelmap.slices, labelmap.shape);
    for (const [number, session] of this.sessions) {
      session.edited ||= concerns(number);
    }
    this.#now({ unsaved: true });
  }

  undo() {
    const { structure } = this;
    this.#inLine('Undoing…', async () => {
      const session = this.sessions.get(structure);
      if (!session) {
        return 'There is no prompt to take back.';
      }
      const labelmap = await this.#labelmap();
      this.#lookForEdits(labelmap);
      const edits = this.#edits(session, structure, labelmap);
      if (edits.length) {
        // What a brush did since the last prompt is one step.
        await this.api.prompts(session.id, edits);
        session.edited = false;
      }
      const change = await this.api.undo(session.id);
      this.#paint(labelmap, change, structure);
      return change.undone ? 'Taken back.' : 'Nothing more can be taken back.';
    });
  }

  // Whole label maps

  segment() {
    if (!this.#mayReplace('segment')) {
      return;
    }
    this.#inLine(`${this.automatic} segments…`, async () => {
      const labelmap = await this.#labelmap();
      const { labels, voxels } = await this.api.segment(this.opened.id, this.automatic);
      const pairs = Object.entries(labels).map(([name, number]) => [number, name]);
      this.#replace(labelmap, voxels, pairs);
      return `${this.automatic} is done. Correct it, then submit.`;
    });
  }

  /** Take a stored version as the start for more work. */
  take(label) {
    if (!this.#mayReplace(`take ${label.id}`)) {
      return;
    }
    this.#inLine(`Loading version ${label.number}…`, async () => {
      const labelmap = await this.#labelmap();
      const { structures, voxels } = await this.api.labelVoxels(label.id);
      this.#replace(
        labelmap,
        voxels,
        structures.map((name, n) => [n + 1, name])
      );
      this.unsaved = false;
      return `This is version ${label.number} by ${label.author}.`;
    });
  }

  #mayReplace(what) {
    return (
      !this.unsaved ||
      this.#sureAbout(what, 'This replaces what is labelled and not submitted. Press once more to do it.')
    );
  }

  /** `pairs` are what a value of `voxels` means; structures that are not there yet are added. */
  #replace(labelmap, voxels, pairs) {
    const numbers = new Map();
    for (const [value, name] of pairs) {
      const known = labelmap.segments();
      const found = known.find(segment => segment.name === name);
      const number = found?.number ?? 1 + Math.max(0, ...known.map(segment => segment.number));
      if (!found) {
        this.viewer.addSegment(number, name);
      }
      numbers.set(value, number);
    }
    writeAll(labelmap.slices, labelmap.shape, voxels, numbers);
    labelmap.changed([...Array(labelmap.shape[0]).keys()]);
    this.structures = labelmap.segments();
    this.#changedByHand(labelmap, () => true);
  }

  submit(comment) {
    return this.#inLine('Submitting…', async () => {
      const labelmap = await this.#labelmap();
      const segments = labelmap.segments();
      const voxels = readAll(labelmap.slices, labelmap.shape);
      if (
        !voxels.some(Boolean) &&
        !this.#sureAbout('submit', 'Nothing is labelled. Press once more to submit an empty label.')
      ) {
        return undefined;
      }
      // Numbers without gaps, whatever segments were removed in OHIF's own table.
      const values = new Uint8Array(256);
      segments.forEach(({ number }, n) => {
        values[number] = n + 1;
      });
      const stored = await this.api.submit(
        this.opened.id,
        voxels.map(value => values[value]),
        {
          structures: segments.map(({ name }) => name),
          comment,
          model: this.sessions.size ? this.model : '',
        }
      );
      this.unsaved = false;
      await this.#readHistory();
      return `Stored as version ${stored.number}.`;
    });
  }

  // Jobs

  train(model) {
    this.#inLine('Asking for a training…', async () => {
      const job = await this.api.train(model);
      this.jobs = new Map(this.jobs).set(job.id, job);
      return `Training of ${model} is queued.`;
    });
  }

  stop(job) {
    this.#inLine('Stopping…', async () => {
      await this.api.stopJob(job.id);
      return 'The job is asked to stop.';
    });
  }

  // What all of them need

  /** True the second time something is asked for in a row. */
  #sureAbout(what, warning) {
    if (this.sure === what) {
      this.sure = null;
      return true;
    }
    this.sure = what;
    this.#now({ message: { text: warning, problem: true } });
    return false;
  }

  #inLine(doing, work) {
    if (doing) {
      this.#now({ message: { text: doing, problem: false }, waiting: this.waiting + 1 });
    }
    this.line = this.line.then(async () => {
      let message = null;
      try {
        const text = await work();
        message = text && { text, problem: false };
        if (text) {
          this.sure = null;
        }
      } catch (error) {
        message = { text: error.message, problem: true };
        if (!(error instanceof Error) || error.name === 'TypeError') {
          console.error(error);
        }
      }
      this.#now({ ...(message && { message }), waiting: this.waiting - (doing ? 1 : 0) });
    });
    return this.line;
  }

  #now(fields) {
    Object.assign(this, fields);
    this.changed();
  }
}
