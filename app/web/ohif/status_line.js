// The status line. Screen readers announce errors at once (assertive), everything else politely.

import { el, setText } from './dom.js';

export class StatusLine {
  constructor(tasks) {
    this.tasks = tasks;
    this.said = el('div', { role: 'status' });
    this.wrong = el('div', { role: 'alert' });
    this.node = el('div', { class: 'segloop-status', 'data-segloop': 'status' }, this.said, this.wrong);
  }

  show() {
    const { message, waiting } = this.tasks;
    setText(this.said, message.problem ? '' : message.text);
    setText(this.wrong, message.problem ? message.text : '');
    this.node.className = `segloop-status${message.problem ? ' problem' : ''}${waiting ? ' busy' : ''}`;
    this.node.dataset.busy = String(waiting > 0);
  }
}
