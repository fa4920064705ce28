// The versions of the label of this case.

import { button, el, section, setChildren } from './dom.js';

const NEWEST = 20;

const date = moment => new Date(moment).toLocaleString([], { dateStyle: 'short', timeStyle: 'short' });

export class HistorySection {
  constructor({ labelling }) {
    this.labelling = labelling;
    this.list = el('ol', { 'data-segloop': 'history' });
    this.none = el('small', {}, 'No label yet.');
    this.node = section('Labels of this case', this.list, this.none);
  }

  show() {
    const newest = [...this.labelling.history].reverse().slice(0, NEWEST);
    setChildren(this.list, newest, label => this.#line(label));
    this.none.hidden = newest.length > 0;
  }

  #line(label) {
    const tag = label.tag === 'final' ? '' : label.tag;
    const how = [date(label.created), label.model, tag, label.comment].filter(Boolean).join(' · ');
    const load = button('load', 'Load', () => this.labelling.take(label), {
      'aria-label': `Load version ${label.number} by ${label.author}`,
    });
    return el('li', {}, el('span', {}, `Version ${label.number} · ${label.author}`, el('small', {}, how)), load);
  }
}
