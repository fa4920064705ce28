// Training a model, and the newest jobs of the server.

import { button, el, field, row, section, select, setChildren, setOptions, setText } from './dom.js';

const RUNNING = new Set(['queued', 'running']);
const NEWEST = 3;

export class TrainingSection {
  constructor({ training }) {
    this.training = training;
    this.models = select('trainable', () => {});
    this.train = button('train', 'Train', () => training.train(this.models.value));
    this.jobs = el('ol', { 'data-segloop': 'jobs' });
    // Announced when a job starts or ends; announcing every epoch would be too much.
    this.news = el('div', { class: 'segloop-unseen', role: 'status' });
    this.node = section('Training', field('Model to train', this.models), row(this.train), this.jobs, this.news);
  }

  show() {
    const { models, jobs: all } = this.training;
    setOptions(
      this.models,
      models.map(({ name }) => [name, name]),
      this.models.value || models[0]?.name || ''
    );
    const jobs = [...all.values()].sort((a, b) => (a.created < b.created ? 1 : -1)).slice(0, NEWEST);
    setChildren(this.jobs, jobs, job => this.#line(job));
    setText(this.news, jobs.length ? titleOf(jobs[0]) : '');
    this.train.disabled = !models.length || jobs.some(job => job.kind === 'train' && RUNNING.has(job.state));
  }

  #line(job) {
    const what = el('span', {}, titleOf(job), el('small', {}, detailOf(job)));
    if (!RUNNING.has(job.state)) {
      return el('li', {}, what);
    }
    const name = `${job.kind} ${job.model}`;
    what.append(el('progress', { max: '1', value: String(job.progress), 'aria-label': name }));
    const stop = button('stop', 'Stop', () => this.training.stop(job), { 'aria-label': `Stop ${name}` });
    return el('li', {}, what, stop);
  }
}

const titleOf = job => `${job.kind} ${job.model}: ${job.state}`;

function detailOf({ epochs, message }) {
  const epoch = epochs.at(-1);
  if (!epoch) {
    return message;
  }
  const dice = epoch.dice === null ? '' : `, Dice ${epoch.dice.toFixed(3)}`;
  return `epoch ${epoch.epoch} of ${epoch.total}${dice}`;
}
