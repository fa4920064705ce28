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
  ['u', 'undo', 'Take the last step back (also Ctrl+Z)'],
  ['Shift+U', 'redo', 'Make it again (also Ctrl+Y)'],
  ['g', 'segment', 'Segment automatically'],
  ['Shift+S', 'submit', 'Submit'],
  ['Shift+N', 'next', 'Next case'],
];

// What everybody knows, and OHIF has for the strokes of its brushes, which are steps of ours.
const WITH_CONTROL = { z: 'undo', y: 'redo', 'Shift+Z': 'redo' };

/** The action of a key press, or null. */
export function actionOf({ key, shiftKey, ctrlKey, altKey, metaKey, target, repeat }) {
  if (altKey || target?.closest?.('input, textarea, select, [contenteditable="true"], [role="dialog"]')) {
    return null;
  }
  if (ctrlKey || metaKey) {
    return WITH_CONTROL[shiftKey ? `Shift+${key.toUpperCase()}` : key.toLowerCase()] ?? null;
  }
  if (repeat) {
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
