import { execFile } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Properties by other seeds than that of `npm test`: their files, one by one, each in a process of its own. */

const root = fileURLToPath(new URL("../..", import.meta.url));
const PROPERTIES = /^import \{[^}]*\bfc\b[^}]*\} from "[^"]*\/properties\.ts";/m;
const FILE_MS_MAX = 100_000;
const OUTPUT_BYTES_MAX = 64 << 20;
/** Of what a file that failed has printed: the end, where failures stand together with their seeds and paths. */
const SHOWN_CHARACTERS = 8000;

/** The test files with properties, from the root of the repository. */
export const propertyFiles = (): string[] =>
  globSync("{src,test}/**/*.test.ts", { cwd: root })
    .filter((file) => PROPERTIES.test(readFileSync(root + file, "utf8")))
    .sort();

/** Of a slice's many: the golden ratio spreads them over all that fast-check takes, 32 bits with a sign. */
export const seedOf = (slice: number, turn: number): number => Math.imul(slice * 10_007 + turn, 0x9e3779b1) | 0;

/** Runs a test file by a seed; null: what it says holds. */
export async function propertiesFail(file: string, seed: number): Promise<string | null> {
  // Under a test's process, the file would take itself for a part of that test, and tell of failures to that alone.
  const { NODE_TEST_CONTEXT: _none, ...env } = process.env;
  const options = {
    cwd: root,
    env: { ...env, T4_PROPERTY_SEED: String(seed) },
    timeout: FILE_MS_MAX,
    killSignal: "SIGKILL",
    maxBuffer: OUTPUT_BYTES_MAX,
  } as const;
  return new Promise((resolve) => {
    execFile(process.execPath, ["--test", file], options, (error, stdout, stderr) => {
      if (error === null) return resolve(null);
      const how = error.killed === true ? `it did not end in ${FILE_MS_MAX} ms` : `it ended with ${error.code}`;
      const shown = (stdout + stderr).slice(-SHOWN_CHARACTERS);
      resolve(`T4_PROPERTY_SEED=${seed} t4-node --test ${file}: ${how}\n${shown}`);
    });
  });
}
