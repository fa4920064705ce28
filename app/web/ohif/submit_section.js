// Storing what is labelled, with a name and a comment.

import { button, el, field, row, section, setText } from './dom.js';
import { FAILED, NOTHING, SAVED, SAVING } from './saving.js';

const PERSON = 'segloop.person';

// What is said of the draft.
const SAID = {
  [NOTHING]: '',
  [SAVING]: 'Saving…',
  [SAVED]: 'Saved: what you drew is found again until you submit it.',
  [FAILED]: 'Not saved. The server does not answer; this page tries again.',
};

export class SubmitSection {
  constructor({ labelling }, keyOf) {
    this.labelling = labelling;
    this.comment = el('input', { type: 'text', maxlength: '500', 'data-segloop': 'comment' });
    this.name = el('input', { type: 'text', maxlength: '100', 'data-segloop': 'person', autocomplete: 'name' });
    this.name.value = remembered();
    this.name.addEventListener('change', () => remember(this.person));
    this.saved = el('small', { 'data-segloop': 'saved', role: 'status' });
    this.press = button('submit', 'Submit label', () => this.submit(), { key: keyOf('submit'), class: 'segloop-main' });
    this.node = section(
      'Submit',
      field('Your name', this.name),
      field('Comment (optional)', this.comment),
      row(this.press),
      this.saved
    );
    addEventListener('beforeunload', event => this.#atRisk() && event.preventDefault());
  }

  get person() {
    return this.name.value.trim();
  }

  async submit() {
    await this.labelling.submit(this.comment.value.trim());
    if (!this.labelling.unsaved) {
      this.comment.value = '';
    }
  }

  /** Whether closing the page now loses something. */
  #atRisk() {
    return [SAVING, FAILED].includes(this.labelling.draft.saving.state);
  }

  show() {
    const { state } = this.labelling.draft.saving;
    setText(this.saved, SAID[state]);
    this.saved.dataset.state = state;
    const { opened, unsaved } = this.labelling;
    this.press.disabled = !opened;
    setText(this.press, unsaved ? 'Submit label •' : 'Submit label');
  }
}

// Storage may be disabled in the browser; then the name has to be entered again.
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
