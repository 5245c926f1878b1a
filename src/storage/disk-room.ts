/** Part of a disk that caches and scratch files leave to others: the local log must always find room. */
const LEFT_SHARE = 0.1;
const LEFT_BYTES_MAX = 2 ** 30;

/** Bytes of a disk of `diskBytes` that are not taken for what can be done without. */
export const leftToOthers = (diskBytes: number): number => Math.min(LEFT_BYTES_MAX, diskBytes * LEFT_SHARE);
