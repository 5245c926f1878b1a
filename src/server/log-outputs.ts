import { createWriteStream, openSync } from "node:fs";
import { messageOf } from "../base/errors.ts";

/** Lines that a slow place has not taken; more are dropped, as a log is no reason to stop or to grow. */
const PENDING_BYTES_MAX = 8 << 20;

/**
 * Where --log-outputs sends the log: "default" and "stderr", "stdout", or a file that is appended to; several at once.
 * Throws an Error for a file that cannot be opened. A log that nobody reads any more (a pipe whose other end is gone, a
 * full disk) is no reason to end.
 */
export function openLogOutputs(outputs: readonly string[]): (text: string) => void {
  const streams = [
    ...new Set(outputs.map((one) => (one === "default" || one === "systemd/journal" ? "stderr" : one))),
  ].map(streamOf);
  for (const stream of streams) stream.on("error", () => {});
  return (text) => {
    for (const stream of streams) if (stream.writableLength < PENDING_BYTES_MAX) stream.write(text);
  };
}

function streamOf(output: string): NodeJS.WritableStream & { readonly writableLength: number } {
  if (output === "stderr") return process.stderr;
  if (output === "stdout") return process.stdout;
  try {
    return createWriteStream(output, { fd: openSync(output, "a", 0o600) });
  } catch (error) {
    throw new Error(`--log-outputs: ${messageOf(error)}`, { cause: error });
  }
}
