import { DbError, messageOf } from "../base/errors.ts";

/** Something that is not as it must be, in one object. */
export interface Fault {
  /** The object's name below the repository's root. */
  readonly object: string;
  /** What is wrong: what was expected, what was found, and at which byte where that is known. */
  readonly what: string;
}

/** Something that exists and that nothing names. */
export interface Garbage {
  readonly object: string;
  readonly bytes: number;
  readonly why: string;
}

/**
 * What a verification gathers. Bounded: all is counted, the first ones are kept.
 */
export class Findings {
  readonly faults: Fault[] = [];
  readonly garbage: Garbage[] = [];
  readonly notices: string[] = [];
  faultsFound = 0;
  garbageFound = 0;
  garbageBytes = 0;
  readonly #max: number;
  readonly #told = new Set<string>();

  constructor(max = KEPT_MAX) {
    this.#max = max;
  }

  fault(object: string, what: string): void {
    const told = `${object} ${what}`;
    if (this.#told.has(told)) return;
    this.faultsFound++;
    if (this.faults.length >= this.#max) return;
    this.#told.add(told);
    this.faults.push({ object, what });
  }

  /** What a decoder threw: the fault is the object's. Anything but a finding about the object is thrown on. */
  thrown(object: string, error: unknown): void {
    if (!isFinding(error)) throw error;
    this.fault(object, withoutName(object, messageOf(error)));
  }

  unnamed(object: string, bytes: number, why: string): void {
    this.garbageFound++;
    this.garbageBytes += bytes;
    if (this.garbage.length < this.#max) this.garbage.push({ object, bytes, why });
  }

  notice(text: string): void {
    if (this.notices.length < this.#max) this.notices.push(text);
  }
}

const KEPT_MAX = 10_000;

/** Of a decoder: damaged, or written by a newer version (which a flipped bit can look like). */
export function isFinding(error: unknown): error is DbError {
  if (!(error instanceof DbError)) return false;
  if (error.kind === "corrupt") return true;
  return error.kind === "storeRefused" && error.message.includes("is unknown to this version of t4");
}

/** The name stands beside the text already. */
function withoutName(object: string, text: string): string {
  const prefix = `object ${object}: `;
  return text.startsWith(prefix) ? text.slice(prefix.length) : text;
}
