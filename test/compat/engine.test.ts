import { openEngine } from "./engine-runner.ts";
import { playAll } from "./play.ts";

/** The engine behind the services, in this process. The limit on messages is the transport's. */
playAll({ missing: false, open: openEngine, except: ["B1.1"] });
