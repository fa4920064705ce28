// A radio group of buttons: one tab stop, and arrow keys within, as screen readers expect.

import { el, setChildren, setText } from './dom.js';

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

export class RadioGroup {
  /** `choose(value)` is called for what is pressed. */
  constructor(label, choose) {
    this.choose = choose;
    this.choices = [];
    this.node = el('div', { class: 'segloop-row', role: 'radiogroup', 'aria-label': label });
    this.node.addEventListener('keydown', event => this.#move(event));
  }

  /** `choices` are `{value, text, properties, colour, beside}`; `colour` makes a swatch, "" an empty one; `beside` is a
   * node that stands next to the button. */
  show(choices, chosen) {
    this.choices = choices;
    setChildren(
      this.node,
      choices.map(({ value, text }) => [value, text]),
      (_, n) => {
        const radio = el('button', { type: 'button', role: 'radio' });
        const { beside } = choices[n];
        return beside ? el('div', { class: 'segloop-choice', role: 'presentation' }, radio, beside) : radio;
      }
    );
    const { radios } = this;
    choices.forEach((choice, n) => this.#showOne(radios[n], choice, choice.value === chosen));
    if (!choices.some(({ value }) => value === chosen) && choices.length) {
      radios[0].tabIndex = 0;
    }
  }

  get radios() {
    return [...this.node.querySelectorAll('[role=radio]')];
  }

  #showOne(node, { value, text, colour, properties }, chosen) {
    if (!node.firstChild) {
      Object.entries(properties).forEach(([name, one]) => node.setAttribute(name, one));
      node.append(...(colour === undefined ? [] : [el('span', { class: 'segloop-swatch' })]), el('span', {}, text));
      node.addEventListener('click', () => this.choose(value));
    }
    setText(node.lastChild, text);
    if (colour !== undefined) {
      node.firstChild.style.background = colour;
    }
    node.setAttribute('aria-checked', String(chosen));
    node.tabIndex = chosen ? 0 : -1;
  }

  #move(event) {
    const buttons = this.radios;
    const at = buttons.indexOf(event.target);
    const step = STEPS[event.key];
    if (step === undefined || at === -1) {
      return;
    }
    // OHIF uses the arrow keys to change the image.
    event.preventDefault();
    event.stopPropagation();
    const next = (at + step + buttons.length) % buttons.length;
    this.choose(this.choices[next].value);
    buttons[next].focus();
  }
}
