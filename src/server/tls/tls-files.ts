import type { X509Certificate } from "node:crypto";
import { messageOf } from "../../base/errors.ts";
import type { Clock, Disk, TlsListening, TlsMaterial } from "../../runtime/runtime.ts";
import { type ClientRules, refusalOfClient } from "./client-rules.ts";
import { revokedSerials } from "./revocations.ts";

const FILE_BYTES_MAX = 16 << 20;
const HANDSHAKE_TIMEOUT_MS = 10_000;
const HANDSHAKES_MAX = 1000;
/** Refused connections that are told of in the log, in each such time. */
const TOLD_MAX = 20;
const PERIOD_MS = 10_000;

/** Where a server's certificates are, and whom it lets in. */
export interface TlsFileSettings {
  readonly certificatePath: string;
  readonly keyPath: string;
  /** Of authorities for client certificates; null: the system's, where they are required. */
  readonly authorityPath: string | null;
  readonly revocationPath: string | null;
  readonly requiresClientCertificate: boolean;
  readonly allowedCommonNames: readonly string[];
  readonly allowedHostnames: readonly string[];
  readonly minVersion: TlsMaterial["minVersion"];
  readonly maxVersion: TlsMaterial["maxVersion"];
  readonly ciphers: string;
}

export interface TlsNotices {
  warn(text: string, fields?: Record<string, unknown>): void;
  info(text: string, fields?: Record<string, unknown>): void;
}

interface Loaded {
  readonly stamp: string;
  readonly material: TlsMaterial;
  readonly rules: ClientRules;
}

/**
 * The files of a server's certificates, taken up again when they change: their size and time of change are looked at
 * before each handshake. Files that cannot be used (one half of a pair that is being replaced, one that is gone) leave
 * what was good in force, but for a revocation list: without it nobody is let in, as nobody can be told from a revoked
 * one. One object serves all listeners, so that no listener can lack a rule that another has.
 */
export class TlsFiles implements TlsListening {
  readonly handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS;
  readonly handshakesMax = HANDSHAKES_MAX;
  readonly material = (): Promise<TlsMaterial> => this.#current();
  readonly admit = (chain: readonly X509Certificate[]): string | null =>
    this.#loaded === null ? "no certificates are loaded" : refusalOfClient(this.#loaded.rules, chain);
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #settings: TlsFileSettings;
  readonly #notices: TlsNotices;
  readonly #check: (material: TlsMaterial) => void;
  #loaded: Loaded | null = null;
  #loading: Promise<TlsMaterial> | null = null;
  /** What was wrong with the files when they were last looked at. */
  #complained = "";
  #refusals = 0;
  #told = 0;
  #periodMs = Number.NEGATIVE_INFINITY;

  /** `check` throws for material that cannot be used. */
  constructor(
    settings: TlsFileSettings,
    surroundings: { disk: Disk; clock: Clock; notices: TlsNotices; check: (material: TlsMaterial) => void },
  ) {
    this.#settings = settings;
    this.#disk = surroundings.disk;
    this.#clock = surroundings.clock;
    this.#notices = surroundings.notices;
    this.#check = surroundings.check;
  }

  /** Connections that were ended before they were accepted. */
  get refusals(): number {
    return this.#refusals;
  }

  /** Told of in the log, but for those of a crowd: the log is not theirs to fill. */
  readonly refused = (reason: string, remoteAddress: string): void => {
    this.#refusals++;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#periodMs >= PERIOD_MS) {
      this.#periodMs = nowMs;
      this.#told = 0;
    }
    if (this.#told++ >= TOLD_MAX) return;
    const further = this.#told === TOLD_MAX ? { further: "not told of for a while" } : {};
    this.#notices.warn("rejected connection on client endpoint", { remoteAddress, why: reason, ...further });
  };

  /** Handshakes that begin at once share one look at the files. */
  #current(): Promise<TlsMaterial> {
    this.#loading ??= this.#load().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  async #load(): Promise<TlsMaterial> {
    const stamp = await this.#stamp();
    if (this.#loaded?.stamp === stamp) return this.#loaded.material;
    const reloads = this.#loaded !== null;
    const revoked = await this.#revoked();
    let material: TlsMaterial;
    try {
      material = await this.#read();
      this.#check(material);
    } catch (error) {
      const before = this.#loaded;
      if (before === null) throw error;
      // The list just read is in force in any case. The stamp stays the old one: the files are looked at again.
      this.#loaded = { ...before, rules: this.#rules(revoked) };
      this.#complain(`the certificate files changed and cannot be used: ${messageOf(error)}`);
      return before.material;
    }
    this.#loaded = { stamp, material, rules: this.#rules(revoked) };
    this.#complained = "";
    if (reloads) this.#notices.info("certificate files were loaded again");
    return material;
  }

  async #revoked(): Promise<ReadonlySet<string>> {
    const { revocationPath } = this.#settings;
    if (revocationPath === null) return new Set();
    try {
      return revokedSerials(await this.#file(revocationPath));
    } catch (error) {
      throw new Error(`--client-crl-file ${revocationPath}: ${messageOf(error)}`, { cause: error });
    }
  }

  #rules(revoked: ReadonlySet<string>): ClientRules {
    const { allowedCommonNames, allowedHostnames } = this.#settings;
    return { allowedCommonNames, allowedHostnames, revokedSerials: revoked };
  }

  async #read(): Promise<TlsMaterial> {
    const { certificatePath, keyPath, authorityPath, requiresClientCertificate } = this.#settings;
    const { minVersion, maxVersion, ciphers } = this.#settings;
    const authorities = authorityPath === null ? ("system" as const) : await this.#file(authorityPath);
    return {
      certificate: await this.#file(certificatePath),
      key: await this.#file(keyPath),
      clientAuthorities: requiresClientCertificate ? authorities : null,
      minVersion,
      maxVersion,
      ciphers,
    };
  }

  async #file(path: string): Promise<Buffer> {
    const bytes = await this.#disk.readFile(path, FILE_BYTES_MAX);
    if (bytes === null) throw new Error(`${path}: there is no such file`);
    return bytes;
  }

  /** Differs when any of the files does; a file that is replaced by a link to another has other times, too. */
  async #stamp(): Promise<string> {
    const { certificatePath, keyPath, authorityPath, revocationPath } = this.#settings;
    const paths = [certificatePath, keyPath, authorityPath, revocationPath].filter((path) => path !== null);
    const stats = await Promise.all(paths.map((path) => this.#disk.stat(path)));
    return stats.map((stat) => (stat === null ? "none" : `${stat.bytes}/${stat.modifiedMs}`)).join(" ");
  }

  #complain(text: string): void {
    if (text === this.#complained) return;
    this.#complained = text;
    this.#notices.warn(text);
  }
}
