/** Compares bytes[start, end) with what is in `key` from `from` on: below 0, 0, above 0. */
export function compareEnd(bytes: Uint8Array, start: number, end: number, key: string, from: number): number {
  const { length } = key;
  for (; start < end && from < length; start++, from++) {
    const difference = bytes[start]! - key.charCodeAt(from);
    if (difference !== 0) return difference;
  }
  return end - start - (length - from);
}

/** Whether the characters [from, to) of `key` are the bytes from `start` on. */
export function isLike(key: string, from: number, to: number, bytes: Uint8Array, start: number): boolean {
  for (let j = from; j < to; j++) if (key.charCodeAt(j) !== bytes[start + j - from]!) return false;
  return true;
}
