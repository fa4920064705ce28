// What is said of each structure of the open case. Pure: no OHIF, no page.

export const SEGMENTED = 'segmented';
export const GUESSED = 'guessed';
export const ABSENT = 'absent';
export const NOT_EXAMINED = 'not_examined';

export class StructureStates {
  constructor() {
    this.forget();
  }

  forget() {
    this.filled = new Set();
    this.absent = new Set();
    this.guesses = new Set();
  }

  /** `GUESSED`: a model made its voxels, and nobody has touched or accepted them. It counts as not examined. */
  of({ number, name }) {
    if (this.filled.has(number)) {
      return this.guesses.has(name) ? GUESSED : SEGMENTED;
    }
    return this.absent.has(name) ? ABSENT : NOT_EXAMINED;
  }

  /** The label map has voxels of the segments `numbers` now; somebody changed those of the structures `touched`. */
  changed(numbers, structures, touched) {
    this.filled = numbers;
    for (const { number, name } of structures) {
      if (touched(number)) {
        this.guesses.delete(name);
      }
      if (numbers.has(number)) {
        this.absent.delete(name);
      }
    }
  }

  /** Everything was replaced by what a model made (`guessed`), or by a label in which the structures `absent` are. */
  replaced(structures, { guessed, absent }) {
    this.guesses = new Set(guessed ? structures.map(({ name }) => name) : []);
    this.absent = new Set(absent);
  }

  /** The next state of a structure: a guess is accepted; without voxels it is marked as absent, or no longer. False if
   * there is none: it is segmented. */
  toggle(structure) {
    const { name } = structure;
    const state = this.of(structure);
    if (state === GUESSED) {
      this.guesses.delete(name);
    } else if (state === ABSENT) {
      this.absent.delete(name);
    } else if (state === NOT_EXAMINED) {
      this.absent.add(name);
    }
    return state !== SEGMENTED;
  }

  /** A structure's voxels were taken from elsewhere: a guess if a model made them. */
  taken(name, guessed) {
    if (guessed) {
      this.guesses.add(name);
    }
  }

  /** What a session is told of a structure: `absent`, `guessed`, or "" for what its voxels say. */
  saidOf(structure) {
    const state = this.of(structure);
    return state === GUESSED || state === ABSENT ? state : '';
  }

  /** What a session says of a structure. */
  heard(name, said) {
    for (const [known, state] of [
      [this.guesses, GUESSED],
      [this.absent, ABSENT],
    ]) {
      if (said === state) {
        known.add(name);
      } else {
        known.delete(name);
      }
    }
  }

  /** The structures by what is said of them. */
  said(structures) {
    const by = state => structures.filter(one => this.of(one) === state);
    return { segmented: by(SEGMENTED), absent: by(ABSENT), guesses: by(GUESSED) };
  }

  accept() {
    this.guesses.clear();
  }
}

/** Throws an Error with a sentence if what is `said` makes no label. */
export function needSomething({ segmented, absent, guesses }) {
  if (!segmented.length && !absent.length) {
    throw new Error(
      guesses.length
        ? 'A model made this, and nobody has looked at it. Correct or accept it, then submit.'
        : 'Nothing is segmented, and nothing is marked as absent: there is nothing to submit.'
    );
  }
}

/** The warning before a label is submitted without what a model made and nobody has looked at. */
export const leftOut = guesses =>
  `Left out, because nobody has looked at what a model made: ${guesses.map(({ name }) => name).join(', ')}.` +
  ' Accept it, or press once more.';
