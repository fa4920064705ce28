// Drawing prompts on the images. Part of the adapter: only ohif_adapter.js uses it.
//
// The mouse is listened to before OHIF and Cornerstone hear of it. Cornerstone holds every click back for 400 ms, in case it
// becomes a double click, and OHIF gives the first click on another viewport to nobody; an annotator clicks all day. The
// Cornerstone tool is there to have the first mouse button, and to draw what is being drawn.
//
// No annotation is kept: a prompt lives until the server has answered, and OHIF's measurements and undo never hear of it.

export const TOOL = 'SegloopPrompt';

const INCLUDE = 'rgb(64, 220, 110)';
const EXCLUDE = 'rgb(255, 90, 90)';
const STEP = 1;

/** What is being drawn. A stroke is `{kind, include, viewport, worlds}`, with world positions in LPS millimetres; a box has
 * its four corners. */
export class PromptPen {
  kind = 'point';
  include = true;
  strokes = [];

  clear() {
    this.strokes = [];
  }
}

/** Follow the first mouse button wherever `viewportAt(element)` gives a viewport that draws prompts. `drawing(viewport)` is
 * called while something changes on it, `drawn(stroke)` when the button is let go. */
export function listenForStrokes(pen, { viewportAt, drawing, drawn }) {
  const ours = event => {
    event.preventDefault();
    event.stopPropagation();
  };
  const begin = event => {
    const plain = event.button === 0 && !event.ctrlKey && !event.shiftKey && !event.altKey && !event.metaKey;
    const viewport = plain && viewportAt(event.target);
    if (!viewport) {
      return;
    }
    ours(event);
    const stroke = { kind: pen.kind, include: pen.include, viewport: viewport.id, canvas: [placeOf(event, viewport)] };
    const follow = () => {
      stroke.worlds = stroke.canvas.map(point => [...viewport.canvasToWorld(point)]);
      drawing(viewport);
    };
    const move = moved => {
      ours(moved);
      extend(stroke, placeOf(moved, viewport));
      follow();
    };
    const end = ended => {
      document.removeEventListener('mousemove', move, true);
      document.removeEventListener('mouseup', end, true);
      move(ended);
      drawn(stroke);
    };
    document.addEventListener('mousemove', move, true);
    document.addEventListener('mouseup', end, true);
    pen.strokes.push(stroke);
    follow();
  };
  document.addEventListener('mousedown', begin, true);
  // Two quick points are two points: to OHIF they would be a wish for another layout.
  document.addEventListener('dblclick', event => viewportAt(event.target) && ours(event), true);
}

/** The Cornerstone tool that shows the pen's strokes. */
export function promptTool({ cornerstoneTools: tools }, pen) {
  return class extends tools.BaseTool {
    static toolName = TOOL;

    constructor(props = {}, defaults = { supportedInteractionTypes: ['Mouse'], configuration: {} }) {
      super(props, defaults);
    }

    renderAnnotation({ viewport }, svg) {
      const here = pen.strokes.filter(stroke => stroke.viewport === viewport.id);
      here.forEach((stroke, n) => {
        const points = stroke.worlds.map(world => viewport.worldToCanvas(world));
        draw(tools, svg, `${TOOL}-${n}`, stroke, points);
      });
      return here.length > 0;
    }
  };
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

function draw(tools, svg, uid, { kind, include }, points) {
  const color = include ? INCLUDE : EXCLUDE;
  if (points.length < 2) {
    tools.drawing.drawCircle(svg, uid, 'dot', points[0], 5, { color, lineWidth: 2 });
    return;
  }
  const closePath = kind === 'box' || kind === 'lasso';
  tools.drawing.drawPolyline(svg, uid, 'line', points, { color, lineWidth: 2, closePath });
}
