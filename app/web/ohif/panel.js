// The panel beside the images: renders sections from the controller's state, without logic of its own.

import { CaseSection } from './case_section.js';
import { el } from './dom.js';
import { HistorySection } from './history_section.js';
import { LabelSection, TOOLS } from './label_section.js';
import { SHORTCUTS } from './shortcuts.js';
import { StatusLine } from './status_line.js';
import { STYLE } from './style.js';
import { SubmitSection } from './submit_section.js';
import { TrainingSection } from './training_section.js';

const keyOf = action => SHORTCUTS.find(([, one]) => one === action)?.[0];
const PRESSES = new Set([' ', 'Enter']);

export class Panel {
  constructor(controller, viewer) {
    this.controller = controller;
    this.viewer = viewer;
    this.status = new StatusLine(controller.tasks);
    this.submit = new SubmitSection(controller, keyOf);
    this.sections = [
      this.status,
      new CaseSection(controller, keyOf),
      new LabelSection(controller, viewer, keyOf),
      this.submit,
      new HistorySection(controller),
      new TrainingSection(controller),
    ];
    this.root = el('div', { class: 'segloop', role: 'region', 'aria-label': 'Segloop' });
    this.root.append(el('style', {}, STYLE), ...this.sections.map(one => one.node), help());
    this.#keepToItself();
    this.warned = '';
    controller.changed = () => this.#show();
  }

  get person() {
    return this.submit.person;
  }

  start() {
    this.#show();
    this.controller.connect();
  }

  /** Put the panel into a node of the page. OHIF takes it out and in again with every study and whenever another panel is
   * in front: scrolling and the keyboard's place stay where they were. */
  mount(node) {
    const { scrolled } = this;
    node.replaceChildren(this.root);
    this.root.scrollTop = scrolled;
    this.#focusAgain();
  }

  /** Perform the action of a key; false if it has none now. */
  act(action) {
    const { labelling, worklist } = this.controller;
    if (!this.root.isConnected) {
      return false;
    }
    const actions = {
      flip: () => labelling.tools.setInclude(!labelling.tools.include),
      structure: () => labelling.nextStructure(),
      mark: () => labelling.toggleState(labelling.structure),
      undo: () => labelling.undo(),
      redo: () => labelling.redo(),
      segment: () => labelling.segment(),
      submit: () => this.submit.submit(),
      next: () => worklist.next(),
    };
    (TOOLS.includes(action) ? () => labelling.tools.choose(action) : actions[action])();
    return true;
  }

  #keepToItself() {
    const { root } = this;
    this.focused = null;
    this.scrolled = 0;
    document.addEventListener('focusin', ({ target }) => {
      this.focused = root.contains(target) && target.matches(':focus-visible') ? target : null;
    });
    document.addEventListener('pointerdown', () => (this.focused = null), true);
    root.addEventListener('scroll', () => {
      this.scrolled = root.isConnected ? root.scrollTop : this.scrolled;
    });
    // OHIF binds these keys to other actions on the whole page.
    root.addEventListener('keydown', event => PRESSES.has(event.key) && event.stopPropagation());
  }

  #show() {
    const { text, problem } = this.controller.tasks.message;
    if (problem && text !== this.warned && !this.root.isConnected) {
      this.viewer.notify(text);
    }
    this.warned = problem ? text : '';
    this.sections.forEach(one => one.show());
    this.#focusAgain();
  }

  /** Focus is lost with a node that is taken out of the page, or disabled while something is done. */
  #focusAgain() {
    if (this.focused && document.activeElement === document.body) {
      this.focused.focus({ preventScroll: true });
    }
  }
}

function help() {
  const rows = SHORTCUTS.map(([keys, , text]) => el('tr', {}, el('td', {}, el('kbd', {}, keys)), el('td', {}, text)));
  const table = el('table', {}, el('tbody', {}, ...rows));
  return el('section', {}, el('details', {}, el('summary', {}, 'Keyboard shortcuts'), table));
}
