import { isOutside, isTest } from "./import-rules.ts";
import { lineOf, type SourceFile } from "./source-file.ts";

const COLUMNS_MAX = 120;
const LINES_MAX = 600;

/** Files over the limit, each with its reason. */
const longFiles = new Map<string, string>([]);

/** What two runs of one seed must not depend on. */
const clocksAndChance: readonly RegExp[] = [
  /\bDate\.now\b/,
  /\bnew Date\(\s*\)/,
  /\bperformance\s*\.\s*now\b/,
  /\bprocess\.(hrtime|uptime|nextTick)\b/,
  /(?<![\w.#$])(setTimeout|setInterval|setImmediate)\b/,
  /\bAbortSignal\.timeout\b/,
  /\bMath\.random\b/,
  /\brandomUUID\b/,
  /\bcrypto\s*\.\s*(random|getRandomValues)/,
  /\bprocess\.env\b/,
  /(?<![\w.#$])(fetch|WebSocket)\s*\(/,
];

/** The simulator's own doors: its loop lets Node drain the microtasks, its command line is a real program. */
const simulatorDoors = new Set(["test/sim/simulation.ts", "test/sim/main.ts"]);

/** The library leaves the process to who started it. */
const exits: readonly RegExp[] = [/\bprocess\.(exit|abort|kill)\b/];

export function forbiddenGlobals(file: SourceFile): string[] {
  const { path } = file;
  const problems: string[] = [];
  const inLibrary = path.startsWith("src/") && !isOutside(path) && !isTest(path);
  const inSimulator = path.startsWith("test/sim/") && !simulatorDoors.has(path);
  if (inLibrary || inSimulator) problems.push(...occurrences(file, clocksAndChance, "is reached through the runtime"));
  if (path.startsWith("src/") && !/^src\/(cli|server)\//.test(path) && !isTest(path)) {
    problems.push(...occurrences(file, exits, "is for the process's own parts alone"));
  }
  return problems;
}

function occurrences(file: SourceFile, patterns: readonly RegExp[], why: string): string[] {
  return patterns.flatMap((pattern) =>
    [...file.code.matchAll(new RegExp(pattern, "g"))].map((match) => {
      return `${file.path}:${lineOf(file.code, match.index)}: ${match[0]} ${why}`;
    }),
  );
}

/** Lower-case words with hyphens; then what the file is (`.test`, `.s3.test`, `.bench` …). */
const NAME = /^[a-z0-9]+(-[a-z0-9]+)*(\.(s3|etcd))?(\.(test|bench|fuzz|d))?\.ts$/;
const FOLDER = /^[a-z0-9]+(-[a-z0-9]+)*$/;

export function kebabCase(file: SourceFile): string[] {
  const parts = file.path.split("/");
  const name = parts.pop()!;
  return NAME.test(name) && parts.every((part) => FOLDER.test(part)) ? [] : [`${file.path}: a name is not kebab-case`];
}

/** Names that say nothing. */
export function emptyNames(file: SourceFile): string[] {
  const found = file.path.split("/").find((part) => /^(utils?|helpers?|common|misc|manager)(\.|$)/.test(part));
  return found === undefined ? [] : [`${file.path}: "${found}" does not say what it is`];
}

export function columns(file: SourceFile): string[] {
  return file.text.split("\n").flatMap((line, at) => {
    const width = [...line].length;
    return width > COLUMNS_MAX ? [`${file.path}:${at + 1}: ${width} columns`] : [];
  });
}

export function fileLength(file: SourceFile): string[] {
  const lines = file.text.split("\n").length - 1;
  if (longFiles.has(file.path)) {
    return lines > LINES_MAX ? [] : [`${file.path}: is no longer long, and still in the list of long files`];
  }
  return lines > LINES_MAX ? [`${file.path}: ${lines} lines`] : [];
}

const MARKS = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"].join("|")})\\b`, "g");

export function noMarks(file: { path: string; text: string }): string[] {
  return [...file.text.matchAll(MARKS)].map((match) => `${file.path}:${lineOf(file.text, match.index)}: ${match[0]}`);
}

/** Folders of one machine, and addresses of one place's package mirror, mean nothing anywhere else. */
const MACHINE = new RegExp(
  `(?<![\\w.$}*-])/(${["wo" + "rk", "ho" + "me", "ro" + "ot", "Us" + "ers"].join("|")})/[\\w.]`,
  "g",
);
const RESOLVED = /"resolved": "https?:/g;

export function noMachinePaths(file: { path: string; text: string }): string[] {
  const found = [...file.text.matchAll(MACHINE)];
  if (file.path.endsWith("package-lock.json")) found.push(...file.text.matchAll(RESOLVED));
  return found.map((match) => `${file.path}:${lineOf(file.text, match.index)}: ${match[0].trim()} names a machine`);
}
