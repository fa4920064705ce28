// The only module that uses OHIF and Cornerstone3D. When a new OHIF breaks something, it is fixed here. The interfaces
// used, and since which release they exist, are listed in docs/ohif.md.

import { Labelmap } from './labelmap.js';
import { PromptPen, TOOL, promptTool } from './prompt_tool.js';
import { listenForStrokes } from './stroke_listener.js';

export const EXTENSION = 'segloop.extension';
export const PANEL = `${EXTENSION}.panelModule.segloop`;
export const MODE = 'segloop.mode';
export const ROUTE = 'segloop';

const CORNERSTONE = '@ohif/extension-cornerstone.utilityModule.common';
const LABELMAP = 'Labelmap';
const OURS = 'segloop-';
const BRUSHES = { brush: 'CircularBrush', eraser: 'CircularEraser' };
const LOOK = 'WindowLevel';

// Half a slice: an image further than this from every slice isn't part of the volume.
const NEAR = 0.5;

/** An element that OHIF's React puts into the page; `mount(node)` gets the node when it is there. Extensions have no
 * access to OHIF's own React, so this is what its `createElement` makes (React 18). */
export function panelElement(mount) {
  const ref = node => node && mount(node);
  return {
    $$typeof: Symbol.for('react.element'),
    type: 'div',
    key: null,
    ref,
    props: { style: { height: '100%', overflow: 'hidden' } },
    _owner: null,
    _store: {},
  };
}

/** The mode to build on: OHIF's own segmentation mode, so that brushes, layouts and window presets are all there. */
export async function segmentationMode(loadModules) {
  const [mode] = await loadModules(['@ohif/mode-segmentation']);
  return mode.modeInstance ?? mode.modeFactory({ modeConfiguration: {}, loadModules });
}

/** The layout of a route with our panel first on the right. Releases differ in where the layout is. */
export function withPanel(route) {
  const added = layout => ({
    ...layout,
    props: { ...layout.props, rightPanels: [PANEL, ...layout.props.rightPanels], rightPanelClosed: false },
  });
  if (route.layoutInstance) {
    return { ...route, layoutInstance: added(route.layoutInstance) };
  }
  return { ...route, layoutTemplate: context => added(route.layoutTemplate.call(route, context)) };
}

/** Keep our panel in front: OHIF turns to its own segment table as soon as there is an active segmentation, once until
 * there is none left. Where that one is ours, this turns back at once, before anything is drawn. Has to come after OHIF's
 * own listening. Gives what ends it. */
export function keepInFront({ servicesManager }) {
  const { segmentationService, panelService, viewportGridService } = servicesManager.services;
  let waiting = true;
  const back = () => {
    if (!segmentationService.getSegmentations().length) {
      waiting = true;
      return;
    }
    const shown = segmentationService.getSegmentationRepresentations(viewportGridService.getActiveViewportId());
    const active = shown?.find(representation => representation.active);
    if (waiting && active) {
      waiting = false;
      if (active.segmentationId.startsWith(OURS)) {
        panelService.activatePanel(PANEL, true);
      }
    }
  };
  const events = ['SEGMENTATION_MODIFIED', 'SEGMENTATION_REPRESENTATION_MODIFIED'];
  return events.map(name => segmentationService.subscribe(segmentationService.EVENTS[name], back).unsubscribe);
}

/** The viewer: what it shows, what is drawn on it, and where it keeps labels. */
export class Viewer {
  constructor({ servicesManager, commandsManager, extensionManager }) {
    this.services = servicesManager.services;
    this.commands = commandsManager;
    this.extensions = extensionManager;
    this.pen = new PromptPen();
    this.ours = 0;
    this.labelmap = null;
    this.pressed = false;
  }

  /** Start telling: `shown(series)` when another series is in the active viewport (null for none), `edited()` when
   * someone changed voxels of our label map with OHIF's tools, `drawn(stroke)` when a prompt was drawn, `took(tool)` when
   * another tool has the first mouse button, "" for one that is none of ours. */
  listen({ shown, edited, drawn, took }) {
    listenForStrokes(this.pen, {
      drawn,
      viewportAt: node => this.#viewportAt(node, [TOOL]),
      brushAt: node => this.#viewportAt(node, Object.values(BRUSHES)) !== null,
      drawing: viewport => this.#drawing(viewport),
    });
    // Somebody holds the mouse button: a stroke isn't at its end.
    document.addEventListener('mousedown', () => (this.pressed = true), true);
    document.addEventListener('mouseup', () => (this.pressed = false), true);
    const { viewportGridService: grid, cornerstoneViewportService: viewports } = this.services;
    let last;
    const look = () => {
      this.#showEverywhere();
      const displaySet = this.#displaySet();
      if (displaySet?.displaySetInstanceUID !== last) {
        last = displaySet?.displaySetInstanceUID;
        shown(displaySet ? { series: displaySet.SeriesInstanceUID, study: displaySet.StudyInstanceUID } : null);
      }
    };
    let due = 0;
    const soon = () => {
      clearTimeout(due);
      due = setTimeout(look);
    };
    for (const name of ['ACTIVE_VIEWPORT_ID_CHANGED', 'GRID_STATE_CHANGED', 'LAYOUT_CHANGED', 'VIEWPORTS_READY']) {
      grid.subscribe(grid.EVENTS[name], soon);
    }
    viewports.subscribe(viewports.EVENTS.VIEWPORT_DATA_CHANGED, soon);
    const { toolGroupService } = this.services;
    toolGroupService.subscribe(toolGroupService.EVENTS.PRIMARY_TOOL_ACTIVATED, ({ toolName }) =>
      took(this.#kindOf(toolName))
    );
    const { cornerstone, cornerstoneTools } = this.libraries;
    cornerstone.eventTarget.addEventListener(cornerstoneTools.Enums.Events.SEGMENTATION_DATA_MODIFIED, event => {
      if (this.ours === 0 && this.labelmap && event.detail.segmentationId === this.labelmap.id) {
        edited();
      }
    });
    soon();
  }

  /** OHIF's own instance of Cornerstone; available after the cornerstone extension has started. */
  get libraries() {
    return this.extensions.getModuleEntry(CORNERSTONE).exports.getCornerstoneLibraries();
  }

  /** Go to a case without loading the page again. */
  open({ study_uid: study, series_uid: series }) {
    const query = new URLSearchParams({ StudyInstanceUIDs: study, initialSeriesInstanceUID: series });
    this.commands.run('navigateHistory', { to: `/${ROUTE}?${query}` });
  }

  /** Draw prompts of a kind with the first mouse button: `point`, `box`, `scribble`, `lasso`; `brush` and `eraser` are
   * OHIF's own; `look` gives the button back to brightness and contrast. */
  use(kind) {
    const name = BRUSHES[kind] ?? (kind === 'look' ? LOOK : TOOL);
    this.pen.kind = kind;
    if (name === TOOL) {
      this.#haveTool();
    }
    this.commands.run('setToolActiveToolbar', { toolName: name });
  }

  /** Remove the drawn prompt from the screen, after the response. */
  wipe() {
    const drawnOn = new Set(this.pen.strokes.map(stroke => stroke.viewport));
    this.pen.clear();
    this.#redraw([...drawnOn].filter(id => this.services.cornerstoneViewportService.getCornerstoneViewport(id)));
  }

  /** A label map over the images that are shown, with a segment for each of `names`, and where each slice of `grid` is
   * in it. `slices` are those of the geometry. The one of the same series is used again. Throws an Error with a sentence
   * if the images are not the case's. */
  async labelmapFor(series, grid, slices, names) {
    const displaySet = this.#displaySet();
    if (!displaySet || displaySet.SeriesInstanceUID !== series) {
      throw new Error('The series in the active viewport is another one now.');
    }
    if (this.labelmap?.of(displaySet) && this.#segmentation(this.labelmap.id)) {
      return this.labelmap;
    }
    const places = this.#places(displaySet, grid, slices);
    const { segmentationService } = this.services;
    const id = `${OURS}${displaySet.displaySetInstanceUID}`;
    const segments = Object.fromEntries(
      names.map((label, n) => [n + 1, { segmentIndex: n + 1, label, active: n === 0, locked: false, cachedStats: {} }])
    );
    await this.#quietly(() =>
      segmentationService.createLabelmapForDisplaySet(displaySet, { segmentationId: id, label: 'Segloop', segments })
    );
    this.labelmap = new Labelmap(this, id, displaySet.displaySetInstanceUID, grid.shape, places);
    await this.#showEverywhere();
    return this.labelmap;
  }

  /** The label map of a series, if there is one. */
  labelmapOf(series) {
    const shown = this.labelmap && this.services.displaySetService.getDisplaySetByUID(this.labelmap.displaySet);
    return shown?.SeriesInstanceUID === series && this.#segmentation(this.labelmap.id) ? this.labelmap : null;
  }

  /** Make `number` the segment that OHIF's tools draw. */
  choose(number) {
    const id = this.labelmap?.id;
    if (id && this.#segmentation(id)?.segments[number]) {
      this.services.segmentationService.setActiveSegment(id, number);
    }
  }

  addSegment(number, label) {
    this.services.segmentationService.addSegment(this.labelmap.id, { segmentIndex: number, label });
  }

  /** `rgb(...)` of a segment as it is shown, or "" before there is a label map. */
  colour(number) {
    const viewport = this.services.viewportGridService.getActiveViewportId();
    if (!this.labelmap || !this.#segmentation(this.labelmap.id)?.segments[number]) {
      return '';
    }
    const [r, g, b] = this.services.segmentationService.getSegmentColor(viewport, this.labelmap.id, number) ?? [];
    return r === undefined ? '' : `rgb(${r}, ${g}, ${b})`;
  }

  /** Segments by number: OHIF's panel may have added, renamed or removed some. */
  segmentsOf(id) {
    const found = Object.entries(this.#segmentation(id)?.segments ?? {});
    return found
      .filter(([, segment]) => segment)
      .map(([number, { label }]) => ({ number: Number(number), name: label }));
  }

  /** Bytes of one image of a label map. */
  bytesOf(id, n) {
    const { imageIds } = this.#segmentation(id).representationData[LABELMAP];
    return this.libraries.cornerstone.cache.getImage(imageIds[n]).voxelManager.getScalarData();
  }

  /** Show what was written into images of a label map; `images` are their places in it. */
  written(id, images) {
    const { cornerstone, cornerstoneTools: tools } = this.libraries;
    const { imageIds, volumeId } = this.#segmentation(id).representationData[LABELMAP];
    for (const n of images) {
      const { voxelManager } = cornerstone.cache.getImage(imageIds[n]);
      voxelManager.setScalarData?.(voxelManager.getScalarData());
    }
    // A volume on the graphics card is loaded again only where it changed.
    const inVolume = (volumeId && cornerstone.cache.getVolume(volumeId)?.imageIds) || [];
    const frames = images.map(n => inVolume.indexOf(imageIds[n]));
    const known = frames.length > 0 && !frames.includes(-1);
    this.#asOurs(() =>
      tools.segmentation.triggerSegmentationEvents.triggerSegmentationDataModified(id, known ? frames : undefined)
    );
  }

  /** Show one of OHIF's own notifications, for when the panel is closed. */
  notify(message) {
    this.services.uiNotificationService.show({ title: 'Segloop', message, type: 'error', duration: 8000 });
  }

  #kindOf(toolName) {
    if (toolName === TOOL) {
      return this.pen.kind;
    }
    return toolName === LOOK ? 'look' : (Object.keys(BRUSHES).find(kind => BRUSHES[kind] === toolName) ?? '');
  }

  #segmentation(id) {
    return this.services.segmentationService.getSegmentation(id);
  }

  /** The image series in the active viewport, or null. */
  #displaySet() {
    const { viewportGridService, displaySetService } = this.services;
    const { activeViewportId, viewports } = viewportGridService.getState();
    const shown = (viewports.get(activeViewportId)?.displaySetInstanceUIDs ?? []).map(uid =>
      displaySetService.getDisplaySetByUID(uid)
    );
    return shown.find(one => one?.imageIds?.length && !one.isOverlayDisplaySet && one.Modality !== 'SEG') ?? null;
  }

  /** For each image of the series, which slice k it is, or null: by the identity of the instance, or where one instance
   * holds several slices, by position. Never by order. */
  #places(displaySet, grid, slices) {
    const { metaData } = this.libraries.cornerstone;
    const single = new Map(slices.flatMap((slice, k) => (slice.frames ? [] : [[slice.sop_instance_uid, k]])));
    return displaySet.imageIds.map(imageId => {
      const plane = metaData.get('imagePlaneModule', imageId);
      if (plane.rows !== grid.shape[1] || plane.columns !== grid.shape[2]) {
        throw new Error('The images shown have other rows and columns than the server’s volume.');
      }
      const known = single.get(metaData.get('instance', imageId)?.SOPInstanceUID);
      if (known !== undefined) {
        return known;
      }
      const [k, j, i] = grid.toIndex(plane.imagePositionPatient);
      const here = Math.abs(k - Math.round(k)) < NEAR && Math.abs(j) < NEAR && Math.abs(i) < NEAR;
      return here && k > -NEAR && k < grid.shape[0] - NEAR ? Math.round(k) : null;
    });
  }

  /** Have the label map on every viewport that shows its series; layouts come and go. */
  async #showEverywhere() {
    const { viewportGridService, segmentationService, cornerstoneViewportService } = this.services;
    const labelmap = this.labelmap;
    if (!labelmap || !this.#segmentation(labelmap.id)) {
      return;
    }
    for (const [viewportId, { displaySetInstanceUIDs = [] }] of viewportGridService.getState().viewports) {
      const ready = cornerstoneViewportService.getCornerstoneViewport(viewportId)?.getImageIds?.().length;
      const shown = segmentationService.getSegmentationRepresentations(viewportId, {
        segmentationId: labelmap.id,
      }).length;
      if (ready && !shown && displaySetInstanceUIDs.includes(labelmap.displaySet)) {
        await this.#quietly(() =>
          segmentationService.addSegmentationRepresentation(viewportId, { segmentationId: labelmap.id, type: LABELMAP })
        );
      }
    }
  }

  /** Run `work`, and ignore OHIF's change events for the label map meanwhile: the user hasn't drawn. */
  #asOurs(work) {
    this.ours += 1;
    try {
      return work();
    } finally {
      this.ours -= 1;
    }
  }

  async #quietly(work) {
    this.ours += 1;
    try {
      return await work();
    } finally {
      this.ours -= 1;
    }
  }

  #haveTool() {
    const { cornerstoneTools: tools } = this.libraries;
    if (!tools.state.tools[TOOL]) {
      tools.addTool(promptTool(this.libraries, this.pen));
    }
    const { toolGroupService } = this.services;
    for (const id of toolGroupService.getToolGroupIds()) {
      const group = toolGroupService.getToolGroup(id);
      if (!group.hasTool(TOOL)) {
        group.addTool(TOOL);
      }
    }
  }

  /** The viewport around a node of the page, if its first mouse button has one of these tools. */
  #viewportAt(node, tools) {
    const { cornerstone } = this.libraries;
    const { viewport } = cornerstone.getEnabledElements().find(one => one.viewport.element.contains(node)) ?? {};
    const group = viewport && this.services.toolGroupService.getToolGroupForViewport(viewport.id);
    return tools.includes(group?.getActivePrimaryMouseButtonTool()) ? viewport : null;
  }

  #drawing(viewport) {
    const { viewportGridService } = this.services;
    if (viewportGridService.getActiveViewportId() !== viewport.id) {
      viewportGridService.setActiveViewportId(viewport.id);
    }
    this.#redraw([viewport.id]);
  }

  #redraw(viewportIds) {
    this.libraries.cornerstoneTools.utilities.triggerAnnotationRenderForViewportIds(viewportIds);
  }
}
