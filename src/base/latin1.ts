declare global {
  interface Buffer {
    /** Node's own, undocumented but stable: toString("latin1", start, end) without its argument checks. */
    latin1Slice(start?: number, end?: number): string;
    /** Likewise; returns the bytes written. */
    latin1Write(text: string, offset?: number, length?: number): number;
  }
}

/**
 * Keys are held as latin1 strings: one character (U+0000 to U+00FF) per byte, so that JavaScript's string order is byte
 * order and V8 stores one byte per byte.
 */
export const keyOfBytes = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).latin1Slice();

export const bytesOfKey = (key: string): Buffer => Buffer.from(key, "latin1");
export const keyOfText = (text: string): string => Buffer.from(text, "utf8").latin1Slice();

/** Whether UTF-8 has the text as it is: one byte a character. */
export function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}
