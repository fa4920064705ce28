// What OHIF loads: one panel. It is kept outside React, so that what someone did is there again when OHIF has closed the
// panel and opened it once more.

import { Api } from './api.js';
import { SessionController } from './session_controller.js';
import { EXTENSION, Viewer, panelElement } from './ohif_adapter.js';
import { Panel } from './panel.js';
import { listenForKeys } from './shortcuts.js';

let panel = null;

function opened(managers) {
  if (panel === null) {
    const viewer = new Viewer(managers);
    const api = new Api(() => panel?.person ?? '');
    panel = new Panel(new SessionController(api, viewer), viewer);
    listenForKeys(action => panel.act(action));
    panel.start();
  }
  return panel;
}

export default {
  id: EXTENSION,
  getPanelModule: managers => [
    {
      name: 'segloop',
      iconName: 'icon-tool-click-segment',
      iconLabel: 'Segloop',
      label: 'Segloop',
      component: () => panelElement(node => opened(managers).mount(node)),
    },
  ],
};
