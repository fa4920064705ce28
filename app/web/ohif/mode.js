// OHIF's segmentation mode, with our panel beside the images.

import { MODE, ROUTE, keepInFront, segmentationMode, withPanel } from './ohif_adapter.js';

export default {
  id: MODE,
  async modeFactory({ loadModules }) {
    const base = await segmentationMode(loadModules);
    let ended = [];
    return {
      ...base,
      id: MODE,
      routeName: ROUTE,
      displayName: 'Segloop',
      onModeEnter(context) {
        const entered = base.onModeEnter.call(this, context);
        ended = keepInFront(context);
        return entered;
      },
      onModeExit(context) {
        ended.forEach(end => end());
        return base.onModeExit.call(this, context);
      },
      routes: base.routes.map(withPanel),
    };
  },
};
