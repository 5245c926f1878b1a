import type { KeyRange } from "../../storage/storage.ts";

/** What a request's key and non-empty range_end mean (R6): "\0" is open, an end at or before the key holds nothing. */
export const keyRange = (key: string, rangeEnd: string): KeyRange => ({
  from: key,
  to: rangeEnd === "\0" ? null : rangeEnd,
});
