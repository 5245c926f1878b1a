/**
 * Reads the fields of a control object's JSON, each checked for kind and bound. Throws an Error that names the field,
 * what was expected and what was found; who reads the object adds its name. A field that this version does not know is
 * refused: it may change what the known ones mean.
 */
export class Fields {
  readonly #values: ReadonlyMap<string, unknown>;
  readonly #where: string;

  constructor(json: unknown, names: readonly string[], where = "") {
    this.#where = where;
    if (typeof json !== "object" || json === null || Array.isArray(json)) {
      throw new Error(`${where === "" ? "the body" : where} is an object, not ${shown(json)}`);
    }
    this.#values = new Map(Object.entries(json));
    for (const name of this.#values.keys()) {
      if (!names.includes(name)) throw new Error(`field ${shown(this.#name(name))} is unknown to this version of t4`);
    }
  }

  text(name: string, pattern: RegExp): string {
    const value = this.#values.get(name);
    if (typeof value === "string" && pattern.test(value)) return value;
    throw this.#wrong(name, `text of the form ${pattern.source}`);
  }

  count(name: string, bounds: { min?: number; max?: number } = {}): number {
    const { min = 0, max = Number.MAX_SAFE_INTEGER } = bounds;
    const value = this.#values.get(name);
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= min && value <= max) return value;
    throw this.#wrong(name, `a whole number from ${min} to ${max}`);
  }

  flag(name: string): boolean {
    const value = this.#values.get(name);
    if (typeof value === "boolean") return value;
    throw this.#wrong(name, "true or false");
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T {
    const found = values.find((value) => value === this.#values.get(name));
    if (found !== undefined) return found;
    throw this.#wrong(name, `one of ${values.join(", ")}`);
  }

  /** Null where the field is null; else what `read` makes of it. A field that is missing is wrong, not null. */
  orNull<T>(name: string, read: () => T): T | null {
    return this.#values.get(name) === null ? null : read();
  }

  /** Of a field that may be left out. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  object(name: string, names: readonly string[]): Fields {
    return new Fields(this.#values.get(name), names, this.#name(name));
  }

  list<T>(name: string, itemsMax: number, read: (item: unknown, where: string) => T): T[] {
    const value = this.#values.get(name);
    if (!Array.isArray(value) || value.length > itemsMax) throw this.#wrong(name, `a list of at most ${itemsMax}`);
    return value.map((item, index) => read(item, `${this.#name(name)}[${index}]`));
  }

  #name(name: string): string {
    return this.#where === "" ? name : `${this.#where}.${name}`;
  }

  #wrong(name: string, expected: string): Error {
    return new Error(`field ${this.#name(name)}: expected ${expected}, found ${shown(this.#values.get(name))}`);
  }
}

/** A value in an error's text, cut to a length that a log line can bear. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}

export const patterns = {
  hex8: /^[0-9a-f]{16}$/,
  hex16: /^[0-9a-f]{32}$/,
  sha256: /^[0-9a-f]{64}$/,
  /** Names, addresses and such, for people to read: no control characters, so that they are safe in a log line. */
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is kept out
  line: /^[^\u0000-\u001f\u007f]{1,300}$/,
  decimal: /^(?:0|[1-9][0-9]{0,19})$/,
} as const;

/** An item of a list of lines. */
export function lineOf(item: unknown, where: string): string {
  if (typeof item === "string" && patterns.line.test(item)) return item;
  throw new Error(`field ${where}: expected text of the form ${patterns.line.source}, found ${shown(item)}`);
}
