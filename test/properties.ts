import { createCipheriv, randomInt } from "node:crypto";
import fc from "fast-check";

/**
 * Where tests have their chance from: fast-check, and bytes and numbers beside it, by one seed. It is the same in every
 * run, so that what a change is judged by does not depend on luck; rare cases are for the night, with another seed in
 * every run (`npm run nightly`, the job "properties"). T4_PROPERTY_SEED chooses: a number, as a failure prints it,
 * plays that again; "random" draws one.
 */
const FIXED_SEED = 20_261_123;
const SEED_MAX = 2 ** 31 - 1;

/** What T4_PROPERTY_SEED says; fast-check's own seeds are whole numbers of 32 bits with a sign. */
export function seedFrom(text: string | undefined): number {
  if (text === undefined) return FIXED_SEED;
  if (text === "random") return randomInt(SEED_MAX);
  const seed = /^-?\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (seed >= -SEED_MAX - 1 && seed <= SEED_MAX) return seed;
  const range = `a whole number from ${-SEED_MAX - 1} to ${SEED_MAX}`;
  throw new Error(`T4_PROPERTY_SEED is ${JSON.stringify(text)}: it must be "random" or ${range}`);
}

/** Of this process. Who draws by it without fast-check prints it where a test fails. */
export const propertySeed = seedFrom(process.env["T4_PROPERTY_SEED"]);

/** A share of `propertySeed` for tests whose seeds are not negative. */
export const smallSeed = (propertySeed >>> 0) % 1_000_000;

if (process.env["T4_PROPERTY_SEED"] === "random") console.log(`T4_PROPERTY_SEED=${propertySeed} plays this again`);
fc.configureGlobal({ seed: propertySeed });

export { fc };

const key = Buffer.alloc(16);
key.writeInt32LE(propertySeed);
const stream = createCipheriv("aes-128-ctr", key, Buffer.alloc(16));

/** Bytes that no packing makes smaller; each call gives the next ones. */
export const seededBytes = (count: number): Buffer => stream.update(Buffer.alloc(count));
