const SHORT: Readonly<Record<string, string>> = {
  "\x07": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  "\\": "\\\\",
  '"': '\\"',
};

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0");

/** Bytes in quotes as Go's %q prints them, and etcdctl with it: text as it is, what cannot be printed as an escape. */
export function goQuote(bytes: Uint8Array): string {
  let quoted = "";
  for (let at = 0; at < bytes.length; ) {
    const character = characterAt(bytes, at);
    if (character === null) quoted += `\\x${hex(bytes[at++]!, 2)}`;
    else {
      quoted += quoteCharacter(character);
      at += Buffer.byteLength(character);
    }
  }
  return `"${quoted}"`;
}

/** The character that begins here; null where the bytes are not UTF-8. */
function characterAt(bytes: Uint8Array, at: number): string | null {
  const first = bytes[at]!;
  const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  try {
    return decoder.decode(bytes.subarray(at, at + length));
  } catch {
    return null;
  }
}

function quoteCharacter(character: string): string {
  const short = SHORT[character];
  if (short !== undefined) return short;
  if (/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u.test(character)) return character;
  const code = character.codePointAt(0)!;
  if (code < 0x80) return `\\x${hex(code, 2)}`;
  return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
}
