// The panel beside the images: fields and buttons made from what `Labelling` says, and nothing decided here.

import { el, setChildren, setOptions, setText } from './dom.js';
import { SHORTCUTS } from './shortcuts.js';
import { STYLE } from './style.js';

const PERSON = 'segloop.person';
const TOOLS = ['point', 'box', 'scribble', 'lasso', 'brush', 'eraser', 'look'];
const TOOL_NAMES = { look: 'Window' };
const RUNNING = new Set(['queued', 'running']);
const NEWEST = 20;

const named = text => text.charAt(0).toUpperCase() + text.slice(1);
const keyOf = action => SHORTCUTS.find(([, one]) => one === action)?.[0];
const date = moment => new Date(moment).toLocaleString([], { dateStyle: 'short', timeStyle: 'short' });

export class Panel {
  constructor(labelling, viewer) {
    this.labelling = labelling;
    this.viewer = viewer;
    this.root = el('div', { class: 'segloop', role: 'region', 'aria-label': 'Segloop' });
    this.root.append(
      el('style', {}, STYLE),
      this.#statusLine(),
      this.#caseSection(),
      this.#segmentSection(),
      this.#submitSection(),
      this.#historySection(),
      this.#trainingSection(),
      this.#helpSection()
    );
    labelling.changed = () => this.#show();
  }

  get person() {
    return this.name.value.trim();
  }

  start() {
    this.#show();
    this.labelling.connect();
  }

  /** Do what a key stands for; false if it means nothing now. */
  act(action) {
    const { labelling } = this;
    if (!this.root.isConnected) {
      return false;
    }
    if (TOOLS.includes(action)) {
      labelling.choose(action);
    } else if (action === 'flip') {
      labelling.setInclude(!labelling.include);
    } else if (action === 'structure') {
      const numbers = labelling.structures.map(({ number }) => number);
      labelling.setStructure(numbers[(numbers.indexOf(labelling.structure) + 1) % numbers.length]);
    } else {
      this.#do(action);
    }
    return true;
  }

  #do(action) {
    const { labelling } = this;
    const actions = {
      undo: () => labelling.undo(),
      segment: () => labelling.segment(),
      submit: () => labelling.submit(this.comment.value.trim()).then(() => this.#submitted()),
      next: () => labelling.next(),
      skip: () => labelling.next(true),
    };
    actions[action]();
  }

  #submitted() {
    if (!this.labelling.unsaved) {
      this.comment.value = '';
    }
  }

  // What there is

  #statusLine() {
    this.status = el('div', {
      class: 'segloop-status',
      role: 'status',
      'aria-live': 'polite',
      'data-segloop': 'status',
    });
    return this.status;
  }

  #caseSection() {
    this.caseName = el('div', { 'data-segloop': 'case' });
    this.reason = el('small', { 'data-segloop': 'reason' });
    this.progress = el('progress', { 'aria-label': 'Cases with a label' });
    this.progressText = el('small', { 'data-segloop': 'progress' });
    this.strategies = this.#select('strategy', value => (this.labelling.strategy = value));
    return this.#section(
      'Case',
      this.caseName,
      this.reason,
      this.progress,
      this.progressText,
      field('Which case next', this.strategies),
      row(this.#button('next', 'Next case', 'segloop-main'), this.#button('skip', 'Skip'))
    );
  }

  #segmentSection() {
    this.structures = el('div', { class: 'segloop-row', role: 'radiogroup', 'aria-label': 'Structure' });
    this.models = this.#select('model', value => this.labelling.setModel(value));
    this.tools = Object.fromEntries(TOOLS.map(tool => [tool, this.#toolButton(tool)]));
    this.include = this.#choice('include', 'Include', () => this.labelling.setInclude(true));
    this.exclude = this.#choice('exclude', 'Exclude', () => this.labelling.setInclude(false));
    this.automatic = this.#select('automatic', value => this.#set({ automatic: value }));
    return this.#section(
      'Label',
      this.structures,
      field('Model that takes prompts', this.models),
      row(...TOOLS.map(tool => this.tools[tool])),
      el(
        'div',
        { class: 'segloop-row', role: 'radiogroup', 'aria-label': 'What prompts mean' },
        this.include,
        this.exclude
      ),
      row(this.#button('undo', 'Undo')),
      field('Model that segments by itself', this.automatic),
      row(this.#button('segment', 'Auto-segment'))
    );
  }

  #submitSection() {
    this.comment = el('input', { type: 'text', maxlength: '500', 'data-segloop': 'comment' });
    this.name = el('input', { type: 'text', maxlength: '100', 'data-segloop': 'person', autocomplete: 'name' });
    this.name.value = remembered();
    this.name.addEventListener('change', () => remember(this.person));
    return this.#section(
      'Submit',
      field('Your name', this.name),
      field('Comment (optional)', this.comment),
      row(this.#button('submit', 'Submit label', 'segloop-main'))
    );
  }

  #historySection() {
    this.history = el('ol', { 'data-segloop': 'history' });
    this.noHistory = el('small', {}, 'No label yet.');
    return this.#section('Labels of this case', this.history, this.noHistory);
  }

  #trainingSection() {
    this.trainable = this.#select('trainable', () => {});
    this.jobs = el('ol', { 'data-segloop': 'jobs', 'aria-live': 'polite' });
    const train = el(
      'button',
      { type: 'button', 'data-segloop': 'train', onclick: () => this.labelling.train(this.trainable.value) },
      'Train'
    );
    this.train = train;
    return this.#section('Training', field('Model to train', this.trainable), row(train), this.jobs);
  }

  #helpSection() {
    const rows = SHORTCUTS.map(([keys, , text]) => el('tr', {}, el('td', {}, el('kbd', {}, keys)), el('td', {}, text)));
    const details = el(
      'details',
      {},
      el('summary', {}, 'Keyboard shortcuts'),
      el('table', {}, el('tbody', {}, ...rows))
    );
    return el('section', {}, details);
  }

  #section(title, ...children) {
    return el('section', { 'aria-label': title }, el('h2', {}, title), ...children);
  }

  #button(action, text, kind = '') {
    const key = keyOf(action);
    const properties = { type: 'button', class: kind, 'data-segloop': action, onclick: () => this.#do(action) };
    const button = el(
      'button',
      { ...properties, ...(key && { title: `${text} (${key})`, 'aria-keyshortcuts': key }) },
      text
    );
    this.buttons = { ...this.buttons, [action]: button };
    return button;
  }

  #toolButton(tool) {
    const text = TOOL_NAMES[tool] ?? named(tool);
    const properties = {
      type: 'button',
      'aria-pressed': 'false',
      'data-segloop': tool,
      onclick: () => this.labelling.choose(tool),
    };
    return el('button', { ...properties, title: `${text} (${keyOf(tool)})`, 'aria-keyshortcuts': keyOf(tool) }, text);
  }

  #choice(name, text, choose) {
    const properties = {
      type: 'button',
      role: 'radio',
      class: `segloop-${name}`,
      'data-segloop': name,
      onclick: choose,
    };
    return el('button', { ...properties, title: `${text} (x)` }, text);
  }

  #select(name, choose) {
    return el('select', { 'data-segloop': name, onchange: event => choose(event.target.value) });
  }

  #set(fields) {
    Object.assign(this.labelling, fields);
    this.#show();
  }

  // What it says now

  #show() {
    const { labelling } = this;
    const { text, problem } = labelling.message;
    if (problem && text !== this.status.textContent && !this.root.isConnected) {
      this.viewer.notify(text);
    }
    setText(this.status, text);
    this.status.className = `segloop-status${problem ? ' problem' : ''}${labelling.waiting ? ' busy' : ''}`;
    this.status.setAttribute('role', problem ? 'alert' : 'status');
    this.status.setAttribute('aria-busy', String(labelling.waiting > 0));
    this.#showCase();
    this.#showTools();
    this.#showHistory();
    this.#showJobs();
    const none = !labelling.opened;
    for (const action of ['undo', 'segment', 'submit', 'skip']) {
      this.buttons[action].disabled = none;
    }
    this.buttons.next.disabled = !labelling.server;
    if (!labelling.automaticModels.length) {
      this.buttons.segment.disabled = true;
    }
    setText(this.buttons.submit, labelling.unsaved ? 'Submit label •' : 'Submit label');
  }

  #showCase() {
    const { opened, picked, progress, server, strategy } = this.labelling;
    const info = opened?.info;
    setText(
      this.caseName,
      info
        ? `${info.patient_id || 'No patient ID'} · ${info.modality} ${info.description}`.trim()
        : 'No case of this server is shown.'
    );
    setText(
      this.reason,
      opened && picked?.id === opened.id ? `Picked: ${picked.reason}` : info?.completed ? 'Has a label already.' : ''
    );
    this.progress.max = progress.total || 1;
    this.progress.value = progress.completed;
    setText(this.progressText, `${progress.completed} of ${progress.total} cases have a label`);
    setOptions(
      this.strategies,
      (server?.strategies ?? []).map(one => [one.name, `${one.name}: ${one.description}`]),
      strategy
    );
  }

  #showTools() {
    const { labelling } = this;
    const segments = labelling.structures.map(({ number, name }) => ({
      number,
      name,
      colour: this.viewer.colour(number),
      chosen: number === labelling.structure,
    }));
    setChildren(this.structures, segments, one => this.#structureButton(one));
    setOptions(
      this.models,
      labelling.interactiveModels.map(model => [
        model.name,
        model.ready ? model.name : `${model.name} (not trained yet)`,
      ]),
      labelling.model
    );
    setOptions(
      this.automatic,
      labelling.automaticModels.map(model => [
        model.name,
        model.ready ? model.name : `${model.name} (not trained yet)`,
      ]),
      labelling.automatic
    );
    for (const tool of TOOLS) {
      const prompt = TOOLS.indexOf(tool) < 4;
      this.tools[tool].setAttribute('aria-pressed', String(labelling.tool === tool));
      this.tools[tool].disabled = !labelling.opened || (prompt && !labelling.takes(tool));
    }
    this.include.setAttribute('aria-checked', String(labelling.include));
    this.exclude.setAttribute('aria-checked', String(!labelling.include));
  }

  #structureButton({ number, name, colour, chosen }) {
    const swatch = el('span', { class: 'segloop-swatch', style: colour ? `background: ${colour}` : '' });
    const properties = {
      type: 'button',
      role: 'radio',
      class: 'segloop-structure',
      'aria-checked': String(chosen),
      'data-structure': name,
    };
    return el('button', { ...properties, onclick: () => this.labelling.setStructure(number) }, swatch, name);
  }

  #showHistory() {
    const newest = [...this.labelling.history].reverse().slice(0, NEWEST);
    setChildren(this.history, newest, label => {
      const what = el('span', {}, `Version ${label.number} · ${label.author}`);
      const how = [date(label.created), label.model, label.tag === 'final' ? '' : label.tag]
        .filter(Boolean)
        .join(' · ');
      what.append(el('small', {}, label.comment ? `${how} · ${label.comment}` : how));
      const text = `Load version ${label.number} by ${label.author}`;
      return el(
        'li',
        {},
        what,
        el('button', { type: 'button', 'aria-label': text, onclick: () => this.labelling.take(label) }, 'Load')
      );
    });
    this.noHistory.hidden = newest.length > 0;
  }

  #showJobs() {
    const { labelling } = this;
    setOptions(
      this.trainable,
      labelling.trainableModels.map(model => [model.name, model.name]),
      this.trainable.value || labelling.trainableModels[0]?.name || ''
    );
    const jobs = [...labelling.jobs.values()].sort((a, b) => (a.created < b.created ? 1 : -1)).slice(0, 3);
    setChildren(this.jobs, jobs, job => {
      const epoch = job.epochs.at(-1);
      const dice = epoch?.dice === null || epoch === undefined ? '' : `, Dice ${epoch.dice.toFixed(3)}`;
      const detail = epoch ? `epoch ${epoch.epoch} of ${epoch.total}${dice}` : job.message;
      const what = el('span', {}, `${job.kind} ${job.model}: ${job.state}`, el('small', {}, detail));
      const line = el('li', {}, what);
      if (RUNNING.has(job.state)) {
        const bar = el('progress', { max: '1', value: String(job.progress), 'aria-label': `${job.kind} ${job.model}` });
        what.append(bar);
        line.append(
          el('button', { type: 'button', 'data-segloop': 'stop', onclick: () => labelling.stop(job) }, 'Stop')
        );
      }
      return line;
    });
    this.train.disabled =
      !labelling.trainableModels.length || jobs.some(job => job.kind === 'train' && RUNNING.has(job.state));
  }
}

const row = (...children) => el('div', { class: 'segloop-row' }, ...children);
const field = (text, input) => el('label', {}, text, input);

// A browser may refuse to keep anything; then the name is asked for again.
function remembered() {
  try {
    return localStorage.getItem(PERSON) ?? '';
  } catch {
    return '';
  }
}

function remember(name) {
  try {
    localStorage.setItem(PERSON, name);
  } catch {
    // Nothing to do: it is only convenience.
  }
}
