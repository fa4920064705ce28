// What a structure of the open case can start from. Pure: no OHIF, no page.

// The tag of labels that a model made.
const PRE_ANNOTATION = 'original';
const MOST_VERSIONS = 20;

/** Whether a model made a label, and nobody has looked at it. */
export const madeByModel = ({ tag, author, model }) => tag === PRE_ANNOTATION || (model !== '' && author === model);

/** Automatic models that have weights, and the newest versions: `{key, text, source, structures, guessed}`. */
export function startsFrom(models, history) {
  const trained = models.filter(({ ready }) => ready);
  const versions = history.map(label =>
    start(`version ${label.number} by ${label.author}`, { label_id: label.id }, label.structures, madeByModel(label))
  );
  return [
    ...trained.map(({ name, labels }) => start(name, { model: name }, labels, true)),
    ...versions.reverse().slice(0, MOST_VERSIONS),
  ];
}

const start = (text, source, structures, guessed) => ({
  key: JSON.stringify(source),
  text,
  source,
  structures,
  guessed,
});
