// Jobs on the server: starting a training, its progress, stopping it.

export class Training {
  /** `changed()` is called when there is something else to show. */
  constructor(api, tasks, changed) {
    this.api = api;
    this.tasks = tasks;
    this.changed = changed;
    this.models = [];
    this.jobs = new Map();
  }

  connect({ models }) {
    this.models = models.filter(model => model.trainable);
  }

  progressed(job) {
    this.jobs = new Map(this.jobs).set(job.id, job);
    this.changed();
  }

  train(model) {
    this.tasks.add('Asking for a training…', async () => {
      this.progressed(await this.api.train(model));
      return `Training of ${model} is queued.`;
    });
  }

  stop(job) {
    this.tasks.add('Stopping…', async () => {
      await this.api.stopJob(job.id);
      return 'The job is asked to stop.';
    });
  }
}
