/**
 * The first eight bytes of a key as two numbers, the most significant byte first and zeros behind a shorter one: where
 * they differ they are ordered as the keys are, and no byte need be looked at. Keys with equal ones may differ.
 */

/** Bytes 0 to 3 of what lies in [start, end). */
export function headOfBytes(bytes: Uint8Array, start: number, end: number): number {
  const left = end - start;
  if (left >= 4) {
    return ((bytes[start]! << 24) | (bytes[start + 1]! << 16) | (bytes[start + 2]! << 8) | bytes[start + 3]!) >>> 0;
  }
  let head = 0;
  for (let j = 0; j < left; j++) head |= bytes[start + j]! << (24 - 8 * j);
  return head >>> 0;
}

/** Characters `from` to `from + 3` of a key. */
export function headOfText(key: string, from: number): number {
  const left = key.length - from;
  if (left >= 4) {
    const high = (key.charCodeAt(from) << 24) | (key.charCodeAt(from + 1) << 16);
    return (high | (key.charCodeAt(from + 2) << 8) | key.charCodeAt(from + 3)) >>> 0;
  }
  let head = 0;
  for (let j = 0; j < left; j++) head |= key.charCodeAt(from + j) << (24 - 8 * j);
  return head >>> 0;
}
