import { playAll } from "./play.ts";
import { serverIsMissing, startServer } from "./server-runner.ts";
import { overSocket } from "./socket-endpoint.ts";

/** Our server, over a socket, with a gRPC client that is not ours. */
playAll({ missing: serverIsMissing(), open: async () => overSocket(await startServer()) });
