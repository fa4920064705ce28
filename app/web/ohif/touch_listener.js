// One finger draws as the first mouse button does; two and three are OHIF's (zoom and pan, and to go through the images).
// Part of the adapter: only ohif_adapter.js and stroke_listener.js use it.

const CAPTURED = { capture: true, passive: false };

// In pixels. A finger that has moved less may yet be the first of two.
const MEANT = 8;

/** Follow one finger. `lineAt(touch)` gives what it draws, `{move(touch), end(touch), drop()}`, or null where it draws
 * nothing. */
export function listenToTouch(lineAt) {
  let finger = null;
  const drop = () => {
    finger?.line.drop();
    finger = null;
  };
  const follow = act => event => {
    const touch = finger && [...event.changedTouches].find(({ identifier }) => identifier === finger.id);
    if (touch) {
      event.preventDefault();
      event.stopPropagation();
      act(touch);
    }
  };
  const press = event => {
    if (finger) {
      drop();
      return;
    }
    const [touch] = event.changedTouches;
    const line = event.touches.length === 1 && lineAt(touch);
    if (line) {
      finger = { id: touch.identifier, line };
      follow(() => {})(event);
    }
  };
  const lift = touch => {
    const { line } = finger;
    finger = null;
    line.end(touch);
  };
  document.addEventListener('touchstart', press, CAPTURED);
  document.addEventListener('touchmove', follow(touch => finger.line.move(touch)), CAPTURED);
  document.addEventListener('touchend', follow(lift), CAPTURED);
  document.addEventListener('touchcancel', follow(drop), CAPTURED);
}

/** A line for OHIF's own brushes, which know nothing but a mouse. */
export function mouseLine(first) {
  let pressed = false;
  const send = (type, { clientX, clientY }, buttons) =>
    first.target.dispatchEvent(
      new MouseEvent(type, { bubbles: true, cancelable: true, view: window, clientX, clientY, buttons })
    );
  const press = () => {
    pressed = true;
    send('mousemove', first, 0);
    send('mousedown', first, 1);
  };
  const move = touch => {
    if (!pressed && Math.hypot(touch.clientX - first.clientX, touch.clientY - first.clientY) > MEANT) {
      press();
    }
    if (pressed) {
      send('mousemove', touch, 1);
    }
  };
  const end = touch => {
    if (!pressed) {
      press();
    }
    send('mouseup', touch, 0);
  };
  return { move, end, drop: () => pressed && send('mouseup', first, 0) };
}
