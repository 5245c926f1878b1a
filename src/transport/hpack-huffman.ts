/**
 * HPACK's Huffman code (RFC 7541 §5.2, appendix B). The code is canonical: within a length, codes count up in the order
 * of their symbols, so the lengths alone give it. Decoding goes four bits a step through a table made of the code's
 * tree; no code is shorter than five bits, so a step gives at most one symbol.
 */

const END_OF_STRING = 256;
const NOT_MADE = -2;

/** Bits of the code of each byte, and of END_OF_STRING. */
const CODE_BITS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
];

const CODES = makeCodes();

/** The code's tree: children[node * 2 + bit] is an inner node's number, or ~symbol. 257 leaves make 256 inner nodes. */
const children = makeTree();

/**
 * transitions[state * 16 + bits]: the next state << 9 | a symbol is complete << 8 | the symbol; -1 = END_OF_STRING.
 * Each is made when it is first needed: most never are, and all of them would take a start 5 ms.
 */
const transitions = new Int32Array(END_OF_STRING * 16).fill(NOT_MADE);
/** States in which a string may end: those reached from the root by at most seven bits, all ones. */
const accepting = new Uint8Array(END_OF_STRING);
for (let node = 0, depth = 0; depth <= 7; depth++, node = children[node * 2 + 1]!) accepting[node] = 1;

function makeCodes(): Uint32Array {
  const codes = new Uint32Array(CODE_BITS.length);
  let code = 0;
  for (let bits = 1; bits <= 30; bits++, code *= 2) {
    for (let symbol = 0; symbol < codes.length; symbol++) if (CODE_BITS[symbol] === bits) codes[symbol] = code++;
  }
  return codes;
}

function makeTree(): Int32Array {
  const children = new Int32Array(END_OF_STRING * 2);
  let nodes = 1;
  for (let symbol = 0; symbol < CODES.length; symbol++) {
    let node = 0;
    for (let bit = CODE_BITS[symbol]! - 1; bit > 0; bit--) {
      const at = node * 2 + ((CODES[symbol]! >>> bit) & 1);
      if (children[at] === 0) children[at] = nodes++;
      node = children[at]!;
    }
    children[node * 2 + (CODES[symbol]! & 1)] = ~symbol;
  }
  return children;
}

function makeTransition(at: number): number {
  let node = at >>> 4;
  let symbol = -1;
  for (let shift = 3; shift >= 0; shift--) {
    node = children[node * 2 + ((at >>> shift) & 1)]!;
    if (node >= 0) continue;
    if (~node === END_OF_STRING) {
      transitions[at] = -1;
      return -1;
    }
    symbol = ~node;
    node = 0;
  }
  const transition = (node << 9) | (symbol < 0 ? 0 : 0x100 | symbol);
  transitions[at] = transition;
  return transition;
}

/** The most bytes that `length` encoded ones can stand for. */
export const huffmanDecodedBytesMax = (length: number): number => Math.floor((length * 8) / 5);

/**
 * Decodes `bytes[start, end)` to the start of `into`, which has room; returns the length, or -1 for what is not a code.
 */
export function huffmanDecode(bytes: Uint8Array, start: number, end: number, into: Uint8Array): number {
  let state = 0;
  let length = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    let high = transitions[(state << 4) | (byte >>> 4)]!;
    if (high === NOT_MADE) high = makeTransition((state << 4) | (byte >>> 4));
    if (high < 0) return -1;
    if ((high & 0x100) !== 0) into[length++] = high;
    let low = transitions[((high >>> 9) << 4) | (byte & 15)]!;
    if (low === NOT_MADE) low = makeTransition(((high >>> 9) << 4) | (byte & 15));
    if (low < 0) return -1;
    if ((low & 0x100) !== 0) into[length++] = low;
    state = low >>> 9;
  }
  return accepting[state] === 1 ? length : -1;
}

export function huffmanEncode(bytes: Uint8Array): Buffer {
  const encoded: number[] = [];
  let pending = 0;
  let pendingBits = 0;
  const push = (code: number, bits: number): void => {
    for (let bit = bits - 1; bit >= 0; bit--) {
      pending = (pending << 1) | ((code >>> bit) & 1);
      if (++pendingBits < 8) continue;
      encoded.push(pending);
      pending = 0;
      pendingBits = 0;
    }
  };
  for (const byte of bytes) push(CODES[byte]!, CODE_BITS[byte]!);
  // Padding is the most significant bits of END_OF_STRING: ones.
  if (pendingBits > 0) push(0xff, 8 - pendingBits);
  return Buffer.from(encoded);
}
