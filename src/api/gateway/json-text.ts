import { isUtf8 } from "node:buffer";

/** What is wrong with a request's text. */
export class JsonTextError extends Error {
  override readonly name = "JsonTextError";
}

/** Deeper than any request of the API needs, and far from what a stack holds. */
const DEPTH_MAX = 500;

/** The values of a text of JSON values, one after the other; what stands between them is white space. */
export class JsonTexts {
  readonly #text: string;
  #at = 0;

  constructor(body: Buffer) {
    if (!isUtf8(body)) throw new JsonTextError("the body is not UTF-8");
    this.#text = body.toString("utf8");
  }

  /** The next value; undefined at the end. Integers that a number cannot hold come as text, which ids may be. */
  next(): unknown {
    const start = this.#skipSpace();
    if (start === this.#text.length) return undefined;
    const end = this.#endOfValue(start);
    this.#at = end;
    return parse(this.#text.slice(start, end));
  }

  #skipSpace(): number {
    let at = this.#at;
    while (isSpace(this.#text.charCodeAt(at))) at++;
    this.#at = at;
    return at;
  }

  /** Where the value that begins at `start` ends; that it is one is for the parser to say. */
  #endOfValue(start: number): number {
    const text = this.#text;
    const first = text[start]!;
    if (first === '"') return this.#endOfString(start);
    if (first !== "{" && first !== "[") {
      if (!/[-0-9tfn]/.test(first))
        throw new JsonTextError(`invalid character '${first}' looking for beginning of value`);
      let end = start + 1;
      while (end < text.length && /[-+.0-9A-Za-z]/.test(text[end]!)) end++;
      return end;
    }
    let depth = 0;
    for (let at = start; at < text.length; at++) {
      const character = text.charCodeAt(at);
      if (character === QUOTE) at = this.#endOfString(at) - 1;
      else if (character === OPEN_BRACE || character === OPEN_BRACKET) {
        if (++depth > DEPTH_MAX) throw new JsonTextError("exceeded max depth");
      } else if ((character === CLOSE_BRACE || character === CLOSE_BRACKET) && --depth === 0) return at + 1;
    }
    throw new JsonTextError("unexpected EOF");
  }

  /** Behind the closing quote of the string that begins at `start`. */
  #endOfString(start: number): number {
    for (let at = start + 1; at < this.#text.length; at++) {
      const character = this.#text.charCodeAt(at);
      if (character === BACKSLASH) at++;
      else if (character === QUOTE) return at + 1;
    }
    throw new JsonTextError("unexpected EOF");
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

const isSpace = (character: number): boolean =>
  character === 0x20 || character === 0x0a || character === 0x0d || character === 0x09;

type Reviver = (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown;

const exactIntegers: Reviver = (_key, value, { source }) =>
  typeof value === "number" && !Number.isSafeInteger(value) && source !== undefined && /^-?\d+$/.test(source)
    ? source
    : value;

function parse(text: string): unknown {
  try {
    return JSON.parse(text, exactIntegers as (key: string, value: unknown) => unknown);
  } catch (error) {
    throw new JsonTextError(error instanceof RangeError ? "exceeded max depth" : (error as Error).message);
  }
}
