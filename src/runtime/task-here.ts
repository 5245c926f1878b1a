import { doWork } from "./offload-work.ts";
import type { BlockOffload, OffloadHow, OffloadTask, Runtime } from "./runtime.ts";

/** Work done at once, where one is. */
export const inlineWork: BlockOffload = {
  sha256: async (bytes) => doWork({ kind: "sha256", bytes }),
  zstdCompress: async (bytes, level) => doWork({ kind: "zstdCompress", bytes, level }),
  zstdDecompress: async (bytes, bytesMax) => doWork({ kind: "zstdDecompress", bytes, bytesMax }),
};

/** Runs a task in this thread: it gives way to others as often as it pauses by itself. */
export function runTaskHere<Input, Result>(
  runtime: Pick<Runtime, "clock" | "timers" | "random"> & { readonly offload: BlockOffload },
  task: OffloadTask<Input, Result>,
  input: Input,
  how: OffloadHow,
): Promise<Result> {
  const call = async (request: unknown): Promise<unknown> => how.serve(request);
  return task.run(input, { runtime, signal: how.signal, call });
}
