// What pages need besides links: each file here does one thing, and this one starts them.
import { startActions } from "./actions.js";
import { startBegin } from "./begin.js";
import { startCharts } from "./charts.js";
import { startFolds } from "./folds.js";
import { startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { startNav } from "./nav.js";
import { startPalette } from "./palette.js";
import { startSaved } from "./saved.js";
import { startScrolls } from "./scrolls.js";
import { startSelection } from "./selection.js";
import { startTheme } from "./theme.js";
import { startTimes } from "./times.js";
import { startZoom } from "./zoom.js";

for (const start of [startTheme, startTimes, startNav, startScrolls, startLive, startFolds, startActions, startBegin, startSelection, startSaved, startPalette, startKeys, startCharts, startZoom]) start();
