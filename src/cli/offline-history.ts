import type { BucketHistory } from "../engine/branches/bucket-history.ts";
import type { OfflineContext } from "./offline.ts";

/** The past of branches, from their bucket alone. Nobody leads here, so no merge is applied. */
export async function historyOf({ store, runtime, request }: OfflineContext): Promise<BucketHistory> {
  const [{ BucketHistory }, { defaultRetention: retention }] = await Promise.all([
    import("../engine/branches/bucket-history.ts"),
    import("../storage/checkpoint-retention.ts"),
  ]);
  return new BucketHistory({ store, runtime, request, settle: async () => {}, writer: null, retention });
}
