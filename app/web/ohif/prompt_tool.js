// Drawing prompts on the images. Part of the adapter: only ohif_adapter.js uses it.
//
// What a hand does is followed in stroke_listener.js. The Cornerstone tool is there to have the first mouse button, and to
// draw what is being drawn.
//
// No annotation is stored: a prompt exists until the server's response, and isn't part of OHIF's measurements and undo.

export const TOOL = 'SegloopPrompt';

const INCLUDE = 'rgb(64, 220, 110)';
const EXCLUDE = 'rgb(255, 90, 90)';

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

/** The Cornerstone tool that shows the pen's strokes. */
export function promptTool({ cornerstoneTools: tools }, pen) {
  return class extends tools.BaseTool {
    static toolName = TOOL;

    constructor(props = {}, defaults = { supportedInteractionTypes: ['Mouse', 'Touch'], configuration: {} }) {
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

function draw(tools, svg, uid, { kind, include }, points) {
  const color = include ? INCLUDE : EXCLUDE;
  if (points.length < 2) {
    tools.drawing.drawCircle(svg, uid, 'dot', points[0], 5, { color, lineWidth: 2 });
    return;
  }
  const closePath = kind === 'box' || kind === 'lasso';
  tools.drawing.drawPolyline(svg, uid, 'line', points, { color, lineWidth: 2, closePath });
}
