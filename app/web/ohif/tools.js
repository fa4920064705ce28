// Which tool has the first mouse button, and what prompts mean.

const BRUSHES = new Set(['brush', 'eraser']);

export class Tools {
  /** `labelmap()` makes a label map to draw into; `chosen()` is called when a tool for prompts was chosen. */
  constructor(viewer, tasks, { labelmap, chosen, changed }) {
    this.viewer = viewer;
    this.tasks = tasks;
    this.labelmap = labelmap;
    this.chosen = chosen;
    this.changed = changed;
    this.tool = 'look';
    this.wanted = 'look';
    this.include = true;
  }

  choose(tool) {
    if (BRUSHES.has(tool)) {
      // OHIF's brush draws into a segment; there has to be one.
      this.tasks.add('', async () => {
        await this.labelmap();
        this.viewer.use(tool);
      });
    } else {
      this.viewer.use(tool);
      this.chosen();
    }
    this.wanted = tool;
    this.#now({ tool });
  }

  /** The tool that was chosen last, again: OHIF begins every study with brightness and contrast. */
  chooseAgain() {
    this.choose(this.wanted);
  }

  /** OHIF gave the first mouse button to another tool. */
  took(tool) {
    if (tool !== this.tool) {
      this.#now({ tool });
    }
  }

  setInclude(include) {
    this.viewer.pen.include = include;
    this.#now({ include });
  }

  #now(fields) {
    Object.assign(this, fields);
    this.changed();
  }
}
