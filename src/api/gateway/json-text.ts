import { isUtf8 } from "node:buffer";
import type { DescMessage } from "@bufbuild/protobuf";

/** What is wrong with a request's text. */
export class JsonTextError extends Error {
  override readonly name = "JsonTextError";
}

/** A whole number of JSON that the language's own numbers cannot hold: as it was written. */
export class ExactInteger {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Deeper than any request of the API needs, and far from what a stack holds. */
const DEPTH_MAX = 500;

/** The values of a text of JSON values, one after the other; what stands between them is white space. */
export class JsonTexts {
  readonly #text: string;
  readonly #message: DescMessage;
  #at = 0;

  /** Each value is to be such a message. */
  constructor(body: Buffer, message: DescMessage) {
    if (!isUtf8(body)) throw new JsonTextError("the body is not UTF-8");
    this.#text = body.toString("utf8");
    this.#message = message;
  }

  /**
   * The next value; undefined at the end. Integers that a number cannot hold come as ExactInteger. A field that an
   * object has twice is refused: which of the two counts would depend on who reads it. What is under a name that the
   * message does not have is not looked at.
   */
  next(): unknown {
    const start = this.#skipSpace();
    if (start === this.#text.length) return undefined;
    const end = this.#endOfValue(start);
    this.#at = end;
    const value = parse(this.#text.slice(start, end));
    this.#checkNames(start, end);
    return value;
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

  /** Of a value that was parsed: strings before a colon are names. */
  #checkNames(start: number, end: number): void {
    const text = this.#text;
    const open: Level[] = [{ fields: null, message: null, inner: this.#message }];
    for (let at = start; at < end; at++) {
      const character = text.charCodeAt(at);
      const level = open.at(-1)!;
      if (character === OPEN_BRACE) open.push({ fields: new Set(), message: level.inner, inner: null });
      else if (character === OPEN_BRACKET) open.push({ fields: null, message: null, inner: level.inner });
      else if (character === CLOSE_BRACE || character === CLOSE_BRACKET) open.pop();
      else if (character === QUOTE) {
        const behind = this.#endOfString(at);
        let next = behind;
        while (isSpace(text.charCodeAt(next))) next++;
        if (level.fields !== null && text.charCodeAt(next) === COLON) enter(level, JSON.parse(text.slice(at, behind)));
        at = behind - 1;
      }
    }
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

/** An object, or an array, that is open. */
interface Level {
  /** By number, those that an object has had so far. */
  readonly fields: Set<number> | null;
  /** What the object is; null: unknown. */
  readonly message: DescMessage | null;
  /** What an object in it is, under its newest name. */
  inner: DescMessage | null;
}

function enter(level: Level, name: string): void {
  const field = level.message?.fields.find((one) => one.name === name || one.jsonName === name);
  level.inner = field?.message ?? null;
  if (field === undefined) return;
  if (level.fields!.has(field.number)) throw new JsonTextError(`proto: duplicate field ${JSON.stringify(name)}`);
  level.fields!.add(field.number);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COLON = 0x3a;

const isSpace = (character: number): boolean =>
  character === 0x20 || character === 0x0a || character === 0x0d || character === 0x09;

type Reviver = (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown;

const exactIntegers: Reviver = (_key, value, { source }) =>
  typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER && source !== undefined
    ? new ExactInteger(source)
    : value;

function parse(text: string): unknown {
  try {
    return JSON.parse(text, exactIntegers as (key: string, value: unknown) => unknown);
  } catch (error) {
    throw new JsonTextError(error instanceof RangeError ? "exceeded max depth" : (error as Error).message);
  }
}
