// Keys that OHIF leaves free, or (`b`, `e`) has for the same. They work anywhere on the page but where one types and in
// OHIF's dialogs.

export const SHORTCUTS = [
  ['p', 'point', 'Point'],
  ['o', 'box', 'Box'],
  ['d', 'scribble', 'Scribble'],
  ['f', 'lasso', 'Lasso'],
  ['b', 'brush', 'Brush (OHIF’s own; [ and ] change its size)'],
  ['e', 'eraser', 'Eraser (OHIF’s own)'],
  ['w', 'look', 'Brightness and contrast'],
  ['x', 'flip', 'Include or exclude'],
  ['k', 'structure', 'Next structure'],
  ['m', 'mark', 'Mark the structure as absent, or accept what a model made'],
  ['u', 'undo', 'Take the last prompt back'],
  ['g', 'segment', 'Segment automatically'],
  ['Shift+S', 'submit', 'Submit'],
  ['Shift+N', 'next', 'Next case'],
];

/** The action of a key press, or null. */
export function actionOf({ key, shiftKey, ctrlKey, altKey, metaKey, target, repeat }) {
  if (
    ctrlKey ||
    altKey ||
    metaKey ||
    repeat ||
    target?.closest?.('input, textarea, select, [contenteditable="true"], [role="dialog"]')
  ) {
    return null;
  }
  const pressed = shiftKey ? `Shift+${key.toUpperCase()}` : key.toLowerCase();
  return SHORTCUTS.find(([keys]) => keys === pressed)?.[1] ?? null;
}

/** Call `act(action)` for each; these key presses are not propagated. */
export function listenForKeys(act) {
  const listen = event => {
    const action = actionOf(event);
    if (action && act(action)) {
      event.preventDefault();
      event.stopPropagation();
    }
  };
  document.addEventListener('keydown', listen, true);
}
