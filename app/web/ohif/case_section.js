// The open case, the number of labelled cases, and navigation to the next one.

import { nameOf } from './cases.js';
import { button, el, field, row, section, select, setOptions, setText } from './dom.js';

export class CaseSection {
  constructor({ labelling, worklist }, keyOf) {
    this.labelling = labelling;
    this.worklist = worklist;
    this.name = el('div', { 'data-segloop': 'case' });
    this.reason = el('small', { 'data-segloop': 'reason' });
    this.progress = el('progress', { 'aria-label': 'Cases with a label' });
    this.progressText = el('small', { 'data-segloop': 'progress' });
    this.meaning = el('small', { id: 'segloop-strategy-meaning' });
    this.strategies = select('strategy', value => worklist.setStrategy(value), {
      'aria-describedby': this.meaning.id,
    });
    this.next = button('next', 'Next case', () => worklist.next(), { key: keyOf('next'), class: 'segloop-main' });
    this.skip = button('skip', 'Skip', () => worklist.next(true), {
      title: 'Give this case back to others and go on to another one',
    });
    this.node = section(
      'Case',
      this.name,
      this.reason,
      this.progress,
      this.progressText,
      field('Which case next', this.strategies),
      this.meaning,
      row(this.next, this.skip)
    );
  }

  show() {
    const { opened } = this.labelling;
    const { connected, picked, progress, strategies, strategy } = this.worklist;
    const info = opened?.info;
    setText(
      this.name,
      info
        ? `${nameOf(info, 'No patient ID')} · ${info.modality} ${info.description}`.trim()
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
      strategies.map(({ name }) => [name, name]),
      strategy
    );
    setText(this.meaning, strategies.find(({ name }) => name === strategy)?.description ?? '');
    this.next.disabled = !connected;
    this.skip.disabled = !opened && !picked;
  }
}
