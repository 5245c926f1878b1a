import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire, getCompileCacheDir } from "node:module";
import { join } from "node:path";
import { Script } from "node:vm";
import { crc32 } from "node:zlib";

/**
 * Loads a file of the bundle with what V8 compiled of it in earlier starts, and keeps that.
 *
 * Node.js keeps compiled code, too, but what a file's first start has compiled alone: what later ones need beyond that
 * (to replay a log, most of all) each would compile anew, 60 ms of it. Here each start may add.
 *
 * What is kept lies in Node's own directory for it (NODE_COMPILE_CACHE; its name tells version and flags), one file
 * for a script:
 *
 *   "T4CC" | CRC-32 of the script u32 | CRC-32 of what follows u32 | bytes of all compiled code then u32 | V8's data
 *
 * Whatever is wrong with it, the script is compiled as if nothing had been kept. V8 itself refuses what another
 * version or other flags have made.
 */
const MAGIC = 0x43433454; // "T4CC", little-endian
const HEADER_BYTES = 16;
/** What is kept is written anew once a process has compiled more than the one that wrote it, by this. */
const GROWTH = 1.02;

export interface CompiledScript {
  /** What the script exports, as a module of CommonJS. */
  readonly exports: Readonly<Record<string, unknown>>;
  /** Keeps what is compiled by now for later starts. Takes 3 ms to find nothing new, else 25. */
  keep(): void;
}

/**
 * `file`: a script in Latin-1, the body of a function of (exports, require, module, moduleUrl); the last is `url`.
 * `import()` is not to be had in it.
 * `directory`: where compiled code is kept; null for nowhere.
 */
export function loadScript(
  file: string,
  url: string,
  directory: string | null = getCompileCacheDir() ?? null,
): CompiledScript {
  const bytes = readFileSync(file);
  const checksum = crc32(bytes);
  const keptAt = directory === null ? null : join(directory, `t4-${crc32(file).toString(16).padStart(8, "0")}`);
  const kept = keptAt === null ? null : readKept(keptAt, checksum);
  const script = new Script(`(function (exports, require, module, moduleUrl) {${bytes.latin1Slice()}\n})`, {
    filename: file,
    ...(kept && { cachedData: kept.data }),
  });
  const compiledBefore = kept === null || script.cachedDataRejected ? 0 : kept.compiledBytes;
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(url), module, url);
  const keep = () => {
    if (keptAt === null) return;
    // Asked for here: a start does not wait for the module.
    const v8 = process.getBuiltinModule("node:v8");
    const compiledBytes = v8.getHeapCodeStatistics().bytecode_and_metadata_size;
    if (compiledBytes <= compiledBefore * GROWTH) return;
    writeKept(keptAt, { checksum, compiledBytes, data: script.createCachedData() });
  };
  return { exports: module.exports, keep };
}

interface Kept {
  /** Bytes of bytecode in the process that kept it, of all scripts. */
  readonly compiledBytes: number;
  readonly data: Buffer;
}

function readKept(path: string, checksum: number): Kept | null {
  try {
    const bytes = readFileSync(path);
    if (bytes.length < HEADER_BYTES || bytes.readUInt32LE(0) !== MAGIC) return null;
    const data = bytes.subarray(HEADER_BYTES);
    if (bytes.readUInt32LE(4) !== checksum || bytes.readUInt32LE(8) !== crc32(data)) return null;
    return { compiledBytes: bytes.readUInt32LE(12), data };
  } catch {
    // Nothing is kept yet, or it cannot be read: it only saves time.
    return null;
  }
}

/** Readers see the file before or after, never half of it. */
function writeKept(path: string, { checksum, compiledBytes, data }: Kept & { checksum: number }): void {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt32LE(checksum, 4);
  header.writeUInt32LE(crc32(data), 8);
  header.writeUInt32LE(compiledBytes, 12);
  const temporary = `${path}.${process.pid}`;
  try {
    writeFileSync(temporary, Buffer.concat([header, data]), { mode: 0o600 });
    renameSync(temporary, path);
  } catch {
    // A full or read-only disk: later starts compile, as this one did.
    rmSync(temporary, { force: true });
  }
}
