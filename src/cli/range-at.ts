import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { StateName } from "../engine/branches/history.ts";
import {
  type RangeRequestSchema,
  type RangeResponse,
  RangeResponseSchema,
  RangeRequestSchema as requestSchema,
} from "../gen/etcdserverpb/rpc_pb.ts";
import { pairOf } from "./commands/diff.ts";
import type { OfflineContext } from "./offline.ts";
import { historyOf } from "./offline-history.ts";

/** A range of a past state, as a server would answer it. */
export async function offlineRangeAt(
  context: OfflineContext,
  state: StateName,
  init: MessageInitShape<typeof RangeRequestSchema>,
): Promise<RangeResponse> {
  const asked = create(requestSchema, init);
  const { sortOrder, sortTarget, serializable, keysOnly, countOnly } = asked;
  const found = await (await historyOf(context)).rangeAt(state, {
    kind: "range",
    key: Buffer.from(asked.key).latin1Slice(),
    rangeEnd: Buffer.from(asked.rangeEnd).latin1Slice(),
    limit: Number(asked.limit),
    revision: 0,
    ...{ sortOrder, sortTarget, serializable, keysOnly, countOnly },
    minModRevision: Number(asked.minModRevision),
    maxModRevision: Number(asked.maxModRevision),
    minCreateRevision: Number(asked.minCreateRevision),
    maxCreateRevision: Number(asked.maxCreateRevision),
  });
  return create(RangeResponseSchema, {
    header: { revision: BigInt(found.revision) },
    kvs: found.rows.map((row) => {
      const pair = pairOf(row);
      if (keysOnly) pair.value = new Uint8Array();
      return pair;
    }),
    more: found.more,
    count: BigInt(found.count),
  });
}
