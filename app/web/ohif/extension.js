// The module that OHIF loads: one panel. Its state is kept outside React, so that it survives when OHIF closes the
// panel and opens it again.

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
