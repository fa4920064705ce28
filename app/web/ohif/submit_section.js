// Storing what is labelled, with a name and a comment.

import { button, el, field, row, section, setText } from './dom.js';
import { FAILED, SAVING } from './saving.js';

const PERSON = 'segloop.person';

export class SubmitSection {
  constructor({ labelling }, keyOf) {
    this.labelling = labelling;
    this.comment = el('input', { type: 'text', maxlength: '500', 'data-segloop': 'comment' });
    this.name = el('input', { type: 'text', maxlength: '100', 'data-segloop': 'person', autocomplete: 'name' });
    this.name.value = remembered();
    this.name.addEventListener('change', () => remember(this.person));
    this.press = button('submit', 'Submit label', () => this.submit(), { key: keyOf('submit'), class: 'segloop-main' });
    this.node = section(
      'Submit',
      field('Your name', this.name),
      field('Comment (optional)', this.comment),
      row(this.press)
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
