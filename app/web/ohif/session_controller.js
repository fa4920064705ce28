// What an annotator works with: the parts, and the connection to the server they share. No page in here; what is seen is
// made from the fields of the parts whenever `changed` is called.

import { Labelling } from './labelling.js';
import { Tasks } from './tasks.js';
import { Training } from './training.js';
import { Worklist } from './worklist.js';

// Milliseconds until a retry after the server did not respond.
const AGAIN = 8000;

export class SessionController {
  constructor(api, viewer) {
    const changed = () => this.changed();
    this.changed = () => {};
    this.api = api;
    this.viewer = viewer;
    this.tasks = new Tasks(changed);
    this.labelling = new Labelling(api, viewer, this.tasks, changed);
    this.worklist = new Worklist(api, viewer, this.tasks, this.labelling, changed);
    this.training = new Training(api, this.tasks, changed);
  }

  async connect() {
    const { labelling, worklist, training } = this;
    await this.tasks.add('Connecting…', async () => {
      const server = await this.api.server();
      [labelling, worklist, training].forEach(part => part.connect(server));
      return 'Connected.';
    });
    if (!worklist.connected) {
      setTimeout(() => this.connect(), AGAIN);
      return;
    }
    this.api.events({
      progress: progress => progress && worklist.progressed(progress),
      job: job => training.progressed(job),
      label: label => labelling.stored(label),
      patches: patches => this.tasks.tell(labelling.draft.sessions.progress(patches)),
    });
    this.viewer.listen({
      shown: shown => labelling.shown(shown),
      edited: () => labelling.edited(),
      drawn: stroke => labelling.drawn(stroke),
      took: tool => labelling.tools.took(tool),
    });
  }
}
