import type { Caller } from "./auth-state.ts";
import type { TokenProvider } from "./tokens.ts";

export interface SimpleTokenSettings {
  /** A token ends so long after its last use (`--auth-token-ttl`). */
  readonly ttlMs: number;
  /** One more ends the one that was given first: its owner logs in again. */
  readonly tokensMax: number;
}

const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const PREFIX_LENGTH = 16;
/** Random bytes from here on would make the first letters likelier. */
const FAIR_BYTES = 256 - (256 % LETTERS.length);

/** Tokens past their time are looked for when so many more have been given. */
const SWEEP_EVERY = 1000;

class SimpleToken {
  readonly name: string;
  expiresMs: number;
  /** Of the auth revision that it was last used at. */
  caller: Caller;

  constructor(name: string, expiresMs: number) {
    this.name = name;
    this.expiresMs = expiresMs;
    this.caller = { name, revision: 0 };
  }
}

/** etcd's simple tokens: sixteen random letters, a dot, a number. They say nothing by themselves. Time is monotonic. */
export class SimpleTokens implements TokenProvider {
  readonly #settings: SimpleTokenSettings;
  readonly #nowMs: () => number;
  readonly #randomBytes: (count: number) => Buffer;
  /** In the order in which they were given. */
  readonly #tokens = new Map<string, SimpleToken>();
  #givenSinceSweep = 0;

  constructor(settings: SimpleTokenSettings, nowMs: () => number, randomBytes: (count: number) => Buffer) {
    this.#settings = settings;
    this.#nowMs = nowMs;
    this.#randomBytes = randomBytes;
  }

  get size(): number {
    return this.#tokens.size;
  }

  callerOf(text: string, revision: number): Caller | null {
    const token = this.#tokens.get(text);
    if (token === undefined) return null;
    const nowMs = this.#nowMs();
    if (token.expiresMs <= nowMs) {
      this.#tokens.delete(text);
      return null;
    }
    token.expiresMs = nowMs + this.#settings.ttlMs;
    if (token.caller.revision !== revision) token.caller = { name: token.name, revision };
    return token.caller;
  }

  issue(user: string, { index }: { index: number }): string {
    const nowMs = this.#nowMs();
    if (++this.#givenSinceSweep >= SWEEP_EVERY || this.#tokens.size >= this.#settings.tokensMax) this.#sweep(nowMs);
    if (this.#tokens.size >= this.#settings.tokensMax) {
      const [first] = this.#tokens.keys();
      this.#tokens.delete(first!);
    }
    const text = `${this.#prefix()}.${index}`;
    this.#tokens.set(text, new SimpleToken(user, nowMs + this.#settings.ttlMs));
    return text;
  }

  #prefix(): string {
    let prefix = "";
    while (prefix.length < PREFIX_LENGTH) {
      for (const byte of this.#randomBytes(PREFIX_LENGTH)) {
        if (byte < FAIR_BYTES && prefix.length < PREFIX_LENGTH) prefix += LETTERS[byte % LETTERS.length]!;
      }
    }
    return prefix;
  }

  end(user: string | null): void {
    if (user === null) this.#tokens.clear();
    else for (const [text, token] of this.#tokens) if (token.name === user) this.#tokens.delete(text);
  }

  #sweep(nowMs: number): void {
    this.#givenSinceSweep = 0;
    for (const [text, token] of this.#tokens) if (token.expiresMs <= nowMs) this.#tokens.delete(text);
  }
}
