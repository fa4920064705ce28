// Following the mouse, a pen or a finger while a prompt is drawn. Part of the adapter: only ohif_adapter.js uses it.
//
// They are listened to before OHIF and Cornerstone hear of them. Cornerstone holds every click back for 400 ms, in case it
// becomes a double click, and OHIF gives the first click on another viewport to nobody; an annotator clicks all day.

import { listenToTouch, mouseLine } from './touch_listener.js';

const STEP = 1;

/** Follow the first mouse button, or one finger, wherever `viewportAt(node)` gives a viewport that draws prompts; where
 * `brushAt(node)` is true a finger is a mouse to OHIF's own brush. `drawing(viewport)` is called while something changes
 * on a viewport, `drawn(stroke)` when the button or the finger is lifted. */
export function listenForStrokes(pen, { viewportAt, brushAt, drawing, drawn }) {
  const begin = (viewport, place) => {
    const stroke = { kind: pen.kind, include: pen.include, viewport: viewport.id, canvas: [placeOf(place, viewport)] };
    const follow = () => {
      stroke.worlds = stroke.canvas.map(point => [...viewport.canvasToWorld(point)]);
      drawing(viewport);
    };
    pen.strokes.push(stroke);
    follow();
    return {
      move(to) {
        extend(stroke, placeOf(to, viewport));
        follow();
      },
      end(at) {
        this.move(at);
        drawn(stroke);
      },
      drop() {
        pen.strokes = pen.strokes.filter(one => one !== stroke);
        drawing(viewport);
      },
    };
  };
  listenToMouse(viewportAt, begin);
  listenToTouch(touch => {
    const viewport = viewportAt(touch.target);
    if (viewport) {
      return begin(viewport, touch);
    }
    return brushAt(touch.target) ? mouseLine(touch) : null;
  });
}

function listenToMouse(viewportAt, begin) {
  const press = event => {
    const plain = event.button === 0 && !event.ctrlKey && !event.shiftKey && !event.altKey && !event.metaKey;
    const viewport = plain && viewportAt(event.target);
    if (!viewport) {
      return;
    }
    ours(event);
    const line = begin(viewport, event);
    const move = moved => {
      ours(moved);
      line.move(moved);
    };
    const end = ended => {
      document.removeEventListener('mousemove', move, true);
      document.removeEventListener('mouseup', end, true);
      ours(ended);
      line.end(ended);
    };
    document.addEventListener('mousemove', move, true);
    document.addEventListener('mouseup', end, true);
  };
  document.addEventListener('mousedown', press, true);
  // Two quick points are two points: to OHIF they would be a wish for another layout.
  document.addEventListener('dblclick', event => viewportAt(event.target) && ours(event), true);
}

function ours(event) {
  event.preventDefault();
  event.stopPropagation();
}

function placeOf({ clientX, clientY }, { element }) {
  const { left, top } = element.getBoundingClientRect();
  return [clientX - left, clientY - top];
}

function extend(stroke, point) {
  const [x, y] = point;
  const [first, last] = [stroke.canvas[0], stroke.canvas.at(-1)];
  if (stroke.kind === 'point') {
    stroke.canvas = [point];
  } else if (stroke.kind === 'box') {
    stroke.canvas = [first, [x, first[1]], [x, y], [first[0], y]];
  } else if (Math.hypot(x - last[0], y - last[1]) >= STEP) {
    stroke.canvas.push(point);
  }
}
