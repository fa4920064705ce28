// What is labelled, with which model, and with which tool.

import { button, el, field, row, section, select, setOptions, setText } from './dom.js';
import { RadioGroup } from './radio_group.js';
import { FAILED, NOTHING, SAVED, SAVING } from './saving.js';
import { ABSENT, GUESSED, NOT_EXAMINED, SEGMENTED } from './structure_states.js';

const PROMPTS = ['point', 'box', 'scribble', 'lasso'];
export const TOOLS = [...PROMPTS, 'brush', 'eraser', 'look'];

const NAMES = { look: 'Window' };
const MEANINGS = [
  { value: true, text: 'Include' },
  { value: false, text: 'Exclude' },
];

// What the button beside a structure shows, and what pressing it does.
const STATES = {
  [SEGMENTED]: { text: 'segmented', hint: 'It is segmented' },
  [GUESSED]: { text: 'accept', hint: 'A model made it, and nobody has looked at it: accept it' },
  [ABSENT]: { text: 'absent', hint: 'Somebody looked for it, and it is not there: take that back' },
  [NOT_EXAMINED]: { text: 'not examined', hint: 'Mark it as absent: looked for, and not there' },
};

// What is said of the draft.
const SAID = {
  [NOTHING]: '',
  [SAVING]: 'Saving…',
  [SAVED]: 'Saved. It is found again until it is submitted.',
  [FAILED]: 'Not saved: the server does not answer. This page tries again.',
};

const named = text => text.charAt(0).toUpperCase() + text.slice(1);
const pairs = models => models.map(({ name, ready }) => [name, ready ? name : `${name} (not trained yet)`]);

export class LabelSection {
  constructor({ labelling }, viewer, keyOf) {
    this.labelling = labelling;
    this.viewer = viewer;
    this.structures = new RadioGroup('Structure', number => labelling.setStructure(number));
    this.meaning = new RadioGroup('What prompts mean', include => labelling.tools.setInclude(include));
    this.meanings = MEANINGS.map(one => ({ ...one, properties: meaningProperties(one.text, keyOf('flip')) }));
    this.models = select('model', value => labelling.setModel(value), { 'aria-describedby': 'segloop-model-about' });
    this.starts = select('start-source', value => this.#wish(value), { id: 'segloop-start' });
    this.start = button('start', 'Start', () => labelling.startFrom(this.#wished()));
    this.automatic = select('automatic', value => labelling.setAutomatic(value));
    this.tools = TOOLS.map(tool =>
      button(tool, NAMES[tool] ?? named(tool), () => labelling.tools.choose(tool), { key: keyOf(tool) })
    );
    this.undo = button('undo', 'Undo', () => labelling.undo(), { key: keyOf('undo') });
    this.redo = button('redo', 'Redo', () => labelling.redo(), { key: keyOf('redo') });
    this.saved = el('small', { 'data-segloop': 'saved', role: 'status' });
    this.about = el('small', { id: 'segloop-model-about', 'data-segloop': 'model-about' });
    this.segment = button('segment', 'Auto-segment', () => labelling.segment(), { key: keyOf('segment') });
    this.accept = button('accept', 'Accept all', () => labelling.acceptGuesses());
    this.states = new Map();
    this.stateKey = keyOf('mark');
    this.node = section(
      'Label',
      this.structures.node,
      field('Model that takes prompts', this.models),
      this.about,
      el(
        'div',
        { class: 'segloop-row segloop-beside' },
        el('label', { for: 'segloop-start' }, 'Start from'),
        this.starts,
        this.start
      ),
      row(...this.tools),
      this.meaning.node,
      row(this.undo, this.redo),
      this.saved,
      field('Model that segments by itself', this.automatic),
      row(this.segment, this.accept)
    );
  }

  show() {
    const { labelling } = this;
    const { models, opened } = labelling;
    this.#showStructures();
    this.meaning.show(this.meanings, labelling.tools.include);
    setOptions(this.models, pairs(models.interactive), models.prompted);
    const starts = opened ? labelling.starts : [];
    const choices = starts.map(({ key, text }) => [key, text]);
    setOptions(this.starts, choices, this.#wished()?.key ?? '');
    this.start.disabled = !starts.length;
    setOptions(this.automatic, pairs(models.automatic), models.segmenting);
    TOOLS.forEach((tool, n) => {
      this.tools[n].setAttribute('aria-pressed', String(labelling.tools.tool === tool));
      this.tools[n].disabled = !opened || (PROMPTS.includes(tool) && !models.takes(tool));
    });
    this.undo.disabled = !opened || !labelling.draft.undoable;
    this.redo.disabled = !opened || !labelling.draft.redoable;
    setText(this.about, models.chosen?.description ?? '');
    const { state } = labelling.draft.saving;
    setText(this.saved, SAID[state]);
    this.saved.dataset.state = state;
    this.segment.disabled = !opened || !models.automatic.length;
    this.accept.hidden = !labelling.guesses.length;
  }

  #wish(key) {
    this.wish = key;
  }

  /** What was chosen to start from, or the first there is. */
  #wished() {
    const { starts } = this.labelling;
    return starts.find(({ key }) => key === this.wish) ?? starts[0];
  }

  #showStructures() {
    const choices = this.labelling.structures.map(({ number, name }) => ({
      value: number,
      text: name,
      colour: this.viewer.colour(number),
      properties: { class: 'segloop-structure', 'data-structure': name },
      beside: this.#stateButton(number, name),
    }));
    this.structures.show(choices, this.labelling.structure);
    this.labelling.structures.forEach(structure => this.#showState(structure));
  }

  #stateButton(number, name) {
    const key = JSON.stringify([number, name]);
    if (!this.states.has(key)) {
      this.states.set(
        key,
        button(`state-${name}`, '', () => this.labelling.toggleState(number), { class: 'segloop-state' })
      );
    }
    return this.states.get(key);
  }

  #showState(structure) {
    const { number, name } = structure;
    const state = this.labelling.states.of(structure);
    const { text, hint } = STATES[state];
    const node = this.#stateButton(number, name);
    setText(node, text);
    node.dataset.state = state;
    node.title = `${hint} (${this.stateKey})`;
    node.setAttribute('aria-label', `${name}: ${text}. ${hint}`);
    node.disabled = !this.labelling.opened || state === SEGMENTED;
    // One stop of the tab key: the arrow keys choose the structure.
    node.tabIndex = number === this.labelling.structure ? 0 : -1;
  }
}

const meaningProperties = (text, key) => ({
  class: `segloop-${text.toLowerCase()}`,
  'data-segloop': text.toLowerCase(),
  title: `${text} (${key})`,
});
