"""`app-config.js`: how OHIF finds this server's images and this server's own extension."""

from __future__ import annotations

import json
from typing import Any

PLUGIN = "plugin"
"""Folder below the viewer's base where the extension's modules are served."""

SOURCE = "segloop"


def app_config(root: str, name: str) -> str:
    """The script. `root` is the path in front of every address of this server ("" or `/t/<token>`, percent-encoded);
    `name` is the server's."""
    base = f"{root}/ohif/"
    config: dict[str, Any] = {
        "routerBasename": base,
        "showStudyList": True,
        # OHIF imports whatever name it doesn't know as the address of a module.
        "extensions": ["@ohif/extension-cornerstone-dicom-seg", f"{base}{PLUGIN}/extension.js"],
        "modes": [f"{base}{PLUGIN}/mode.js"],
        "customizationService": {},
        "groupEnabledModesFirst": True,
        "maxNumberOfWebWorkers": 3,
        "maxNumRequests": {"interaction": 100, "thumbnail": 5, "prefetch": 25},
        "showWarningMessageForCrossOrigin": True,
        "showCPUFallbackMessage": True,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        # A brush draws with the first press on another viewport, and doesn't only choose it.
        "activateViewportBeforeInteraction": False,
        # OHIF's notice that it is no medical device: asked once in a while, not on every case.
        "investigationalUseDialog": {"option": "configure", "days": 30},
        "defaultDataSourceName": SOURCE,
        "dataSources": [_data_source(root, name)],
    }
    return f"window.config = {json.dumps(config, indent=1)};\n"


def _data_source(root: str, name: str) -> dict[str, Any]:
    return {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": SOURCE,
        "configuration": {
            "friendlyName": name,
            "name": SOURCE,
            "qidoRoot": f"{root}/dicom-web",
            "wadoRoot": f"{root}/dicom-web",
            "wadoUriRoot": f"{root}/dicom-web/wado",
            "qidoSupportsIncludeField": True,
            "imageRendering": "wadors",
            "thumbnailRendering": "wadors",
            "enableStudyLazyLoad": True,
            "supportsFuzzyMatching": True,
            "supportsWildcard": True,
            "dicomUploadEnabled": True,
            "omitQuotationForMultipartRequest": True,
            "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
        },
    }
