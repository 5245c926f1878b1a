import { isUtf8 } from "node:buffer";
import type { DescField, DescMessage } from "@bufbuild/protobuf";

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
/** Of one value, as far as they are kept: more than any request has, and less than what holds others up. */
const OBJECTS_MAX = 20_000;

/**
 * The values of a text of JSON values (RFC 8259), one after the other; what stands between them is white space. Read in
 * one pass, for the message that each is to be: what is under a name that the message does not have is looked at and
 * not kept, whatever there is of it. Integers that a number cannot hold come as ExactInteger.
 */
export class JsonTexts {
  readonly #text: string;
  readonly #message: DescMessage;
  #at = 0;
  #objects = 0;

  constructor(body: Buffer, message: DescMessage) {
    if (!isUtf8(body)) throw new JsonTextError("the body is not UTF-8");
    this.#text = body.toString("utf8");
    this.#message = message;
  }

  /** The next value; undefined at the end. */
  next(): unknown {
    this.#objects = 0;
    return Number.isNaN(this.#peek()) ? undefined : this.#value(this.#message, 0);
  }

  /** The first character that is no white space, where `#at` is left; NaN at the end. */
  #peek(): number {
    for (;;) {
      const character = this.#text.charCodeAt(this.#at);
      if (character !== 0x20 && character !== 0x0a && character !== 0x0d && character !== 0x09) return character;
      this.#at++;
    }
  }

  /** `message`: what an object here is; null: none that is known. */
  #value(message: DescMessage | null, depth: number): unknown {
    const first = this.#peek();
    if (first === QUOTE) return this.#string();
    if (first === OPEN_BRACE) return this.#object(message, depth + 1);
    if (first === OPEN_BRACKET) return this.#array(message, depth + 1);
    if (Number.isNaN(first)) throw new JsonTextError("unexpected EOF");
    WORD.lastIndex = this.#at;
    const word = WORD.exec(this.#text)?.[0] ?? "";
    this.#at += word.length;
    const literal = literals.get(word);
    if (literal !== undefined) return literal;
    if (!NUMBER.test(word))
      throw new JsonTextError(`invalid character '${String.fromCharCode(first)}' looking for beginning of value`);
    const number = Number(word);
    return Math.abs(number) > Number.MAX_SAFE_INTEGER ? new ExactInteger(word) : number;
  }

  /** A field that is there twice is refused: which of the two counts would depend on who reads it. */
  #object(message: DescMessage | null, depth: number): object {
    const members: Record<string, unknown> = {};
    const seen = new Set<number>();
    this.#enter(depth);
    if (message !== null && ++this.#objects > OBJECTS_MAX) {
      throw new JsonTextError(`over ${OBJECTS_MAX} objects in one request: ask by gRPC`);
    }
    if (this.#ends(CLOSE_BRACE)) return members;
    do {
      if (this.#peek() !== QUOTE) throw new JsonTextError("a name is expected");
      const name = this.#string();
      if (this.#peek() !== COLON) throw new JsonTextError("':' is expected");
      this.#at++;
      const field = message === null ? undefined : fieldNamed(message, name);
      const value = this.#value(field?.message ?? null, depth);
      if (field === undefined) continue;
      if (seen.has(field.number)) throw new JsonTextError(`proto: duplicate field ${JSON.stringify(name)}`);
      seen.add(field.number);
      members[name] = value;
    } while (this.#goesOn(CLOSE_BRACE));
    return members;
  }

  #array(message: DescMessage | null, depth: number): unknown[] {
    const values: unknown[] = [];
    this.#enter(depth);
    if (this.#ends(CLOSE_BRACKET)) return values;
    do values.push(this.#value(message, depth));
    while (this.#goesOn(CLOSE_BRACKET));
    return values;
  }

  #enter(depth: number): void {
    if (depth > DEPTH_MAX) throw new JsonTextError("exceeded max depth");
    this.#at++;
  }

  #ends(close: number): boolean {
    if (this.#peek() !== close) return false;
    this.#at++;
    return true;
  }

  /** False: at its end. */
  #goesOn(close: number): boolean {
    const character = this.#peek();
    if (Number.isNaN(character)) throw new JsonTextError("unexpected EOF");
    if (character !== close && character !== COMMA) throw new JsonTextError("',' or an end is expected");
    this.#at++;
    return character === COMMA;
  }

  #string(): string {
    const start = this.#at;
    let escaped = false;
    for (let at = start + 1; at < this.#text.length; at++) {
      const character = this.#text.charCodeAt(at);
      if (character === BACKSLASH) {
        escaped = true;
        at++;
      } else if (character === QUOTE) {
        this.#at = at + 1;
        return escaped ? unescaped(this.#text.slice(start, at + 1)) : this.#text.slice(start + 1, at);
      } else if (character < 0x20) throw new JsonTextError("a control character in a string");
    }
    throw new JsonTextError("unexpected EOF");
  }
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const WORD = /[-+._0-9A-Za-z]+/y;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const literals: ReadonlyMap<string, boolean | null> = new Map([
  ["true", true],
  ["false", false],
  ["null", null],
]);

/** By either of its two names. */
export const fieldNamed = (message: DescMessage, name: string): DescField | undefined =>
  message.fields.find((one) => one.name === name || one.jsonName === name);

function unescaped(literal: string): string {
  try {
    return JSON.parse(literal) as string;
  } catch (error) {
    throw new JsonTextError((error as Error).message);
  }
}
