// What pages need besides links: each file here does one thing, and this one starts them.
import { startActions } from "./actions.js";
import { startCharts } from "./charts.js";
import { startFolds } from "./folds.js";
import { startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { startNav } from "./nav.js";
import { startPalette } from "./palette.js";
import { startSaved } from "./saved.js";
import { startSelection } from "./selection.js";
import { startTheme } from "./theme.js";
import { startTimes } from "./times.js";
import { startZoom } from "./zoom.js";

for (const start of [startTheme, startTimes, startNav, startLive, startFolds, startActions, startSelection, startSaved, startPalette, startKeys, startCharts, startZoom]) start();
