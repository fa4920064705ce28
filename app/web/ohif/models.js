// Which models the server has, and which of them are chosen.

export class Models {
  constructor() {
    this.interactive = [];
    this.automatic = [];
    this.prompted = '';
    this.segmenting = '';
  }

  connect({ models, default_model: name }) {
    this.interactive = models.filter(model => model.accepts.length);
    this.automatic = models.filter(model => !model.accepts.length);
    this.prompted = name ?? this.interactive[0]?.name ?? '';
    this.segmenting = (this.automatic.find(model => model.ready) ?? this.automatic[0])?.name ?? '';
  }

  /** The model that takes prompts, as the server describes it. */
  get chosen() {
    return this.interactive.find(model => model.name === this.prompted);
  }

  /** Whether that model takes what a tool draws. */
  takes = tool => this.chosen?.accepts.includes(tool) ?? false;
}
