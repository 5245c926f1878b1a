import { isBranchName } from "../objects/keys.ts";
import { parseStoreUrl, type StoreSettings } from "../objects/store-url.ts";
import type { RetentionTier } from "../storage/checkpoint-retention.ts";
import { parseAge, parseTiers } from "../storage/retention-text.ts";

/** How the text of a setting is read. Each throws an Error that says what is expected, without naming the setting. */
export interface Kind<T> {
  /** Shown in --help: "duration", "bytes" … */
  readonly name: string;
  /** The flag may be given several times: as if all were separated by commas. */
  readonly repeatable?: boolean;
  parse(text: string): T;
}

export const textKind: Kind<string> = { name: "text", parse: (text) => text };

export const booleanKind: Kind<boolean> = {
  name: "bool",
  parse(text) {
    if (/^(true|1|t|yes|)$/i.test(text)) return true;
    if (/^(false|0|f|no)$/i.test(text)) return false;
    throw new Error(`expected true or false, not "${text}"`);
  },
};

export function oneOf<const T extends string>(...values: T[]): Kind<T> {
  return {
    name: values.join("|"),
    parse(text) {
      const value = values.find((v) => v === text);
      if (value === undefined) throw new Error(`expected ${values.join(" or ")}, not "${text}"`);
      return value;
    },
  };
}

export function integerKind(bounds: { min: number; max: number }): Kind<number> {
  return {
    name: "number",
    parse(text) {
      const value = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
      return withinBounds(value, text, bounds, "a whole number");
    },
  };
}

interface Bounds {
  readonly min: number;
  readonly max: number;
  /** How both are shown. */
  readonly show?: (bound: number) => string;
}

function withinBounds(value: number, text: string, { min, max, show = String }: Bounds, what: string): number {
  if (Number.isNaN(value)) throw new Error(`expected ${what}, not "${text}"`);
  if (value < min || value > max) throw new Error(`${text} is outside ${show(min)} to ${show(max)}`);
  return value;
}

const BYTE_UNITS: Record<string, number> = {
  "": 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 1 << 10,
  mi: 1 << 20,
  gi: 1 << 30,
};

/** "1572864", "64MiB", "10GiB", "5MB". */
export function bytesKind(bounds: { min: number; max: number }): Kind<number> {
  return {
    name: "bytes",
    parse(text) {
      const match = /^(\d{1,16})\s*(?:([kmgt]i?)?b?)$/i.exec(text.trim());
      const unit = BYTE_UNITS[(match?.[2] ?? "").toLowerCase()];
      const value = match === null || unit === undefined ? Number.NaN : Number(match[1]) * unit;
      return withinBounds(value, text, { ...bounds, show: (bytes) => `${bytes}B` }, 'bytes such as "64MiB"');
    },
  };
}

const DURATION_UNITS: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** etcd's default, which a quota of 0 asks for. */
const QUOTA_BYTES_DEFAULT = 2 * 2 ** 30;

/** As etcd reads a quota: 0 is its default, a negative one none (null). */
export const quotaKind: Kind<number | null> = {
  name: "bytes",
  parse(text) {
    if (/^-\d{1,19}$/.test(text)) return null;
    const bytes = bytesKind({ min: 0, max: Number.MAX_SAFE_INTEGER }).parse(text);
    return bytes === 0 ? QUOTA_BYTES_DEFAULT : bytes;
  },
};

/** Go's durations: "5s", "1h30m", "100ms", "1.5s", "0". In milliseconds. */
export function durationKind(bounds: { min: number; max: number }): Kind<number> {
  return {
    name: "duration",
    parse(text) {
      return withinBounds(
        parseDuration(text),
        text,
        { ...bounds, show: durationText },
        'a duration such as "5s" or "1h30m"',
      );
    },
  };
}

/** In the largest unit that it has a whole number of. */
function durationText(ms: number): string {
  const unit = (["h", "m", "s"] as const).find((each) => ms % DURATION_UNITS[each]! === 0);
  return ms === 0 || unit === undefined ? `${ms}ms` : `${ms / DURATION_UNITS[unit]!}${unit}`;
}

function parseDuration(text: string): number {
  if (text === "0") return 0;
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return Number.NaN;
  let total = 0;
  for (const [, digits, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) {
    total += Number(digits) * DURATION_UNITS[unit!]!;
  }
  return total;
}

export type ClientUrl =
  | { readonly scheme: "http" | "https"; readonly host: string; readonly port: number; readonly text: string }
  | { readonly scheme: "unix" | "unixs"; readonly path: string; readonly text: string };

/** Is what comes by this address TLS? */
export const isSecure = (url: ClientUrl): boolean => url.scheme === "https" || url.scheme === "unixs";

/** Comma-separated URLs to listen on: http://HOST:PORT, https://HOST:PORT, unix:///PATH, unixs:///PATH. */
export const listenUrlsKind: Kind<ClientUrl[]> = {
  name: "urls",
  parse(text) {
    return text.split(",").map((part) => parseListenUrl(part.trim()));
  },
};

/** The same, or nothing. */
export const optionalUrlsKind: Kind<ClientUrl[]> = {
  name: "urls",
  parse: (text) => (text === "" ? [] : listenUrlsKind.parse(text)),
};

/** Comma-separated texts; empty: none. */
export const textsKind: Kind<string[]> = {
  name: "texts",
  parse: (text) =>
    text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== ""),
};

export const branchNameKind: Kind<string> = {
  name: "name",
  parse(text) {
    if (isBranchName(text)) return text;
    throw new Error(`expected 1 to 63 lower-case letters, digits and inner hyphens, not "${text}"`);
  },
};

export interface BranchUrl {
  readonly branch: string;
  readonly url: ClientUrl;
}

/** Comma-separated addresses, each for one branch: staging=http://127.0.0.1:2479. */
export const branchUrlsKind: Kind<BranchUrl[]> = {
  name: "name=url",
  repeatable: true,
  parse: (text) =>
    textsKind.parse(text).map((part) => {
      const mark = part.indexOf("=");
      if (mark < 0) throw new Error(`expected NAME=URL such as staging=http://127.0.0.1:2479, not "${part}"`);
      return { branch: branchNameKind.parse(part.slice(0, mark)), url: parseListenUrl(part.slice(mark + 1)) };
    }),
};

/** Comma-separated ends of host names, in lower case. */
export const domainsKind: Kind<string[]> = {
  name: "names",
  parse: (text) => textsKind.parse(text.toLowerCase()).map(parseDomain),
};

function parseDomain(text: string): string {
  const domain = text.replace(/^\*?\./, "").replace(/\.$/, "");
  if (domain.split(".").every(isBranchName)) return domain;
  throw new Error(`expected a host name's end such as localhost or db.example.org, not "${text}"`);
}

function parseListenUrl(text: string): ClientUrl {
  const [, socketScheme, path] = /^(unixs?):\/\/(.*)$/.exec(text) ?? [];
  if (path === "") throw new Error(`"${text}": the socket's path is missing`);
  if (path !== undefined) return { scheme: socketScheme as "unix" | "unixs", path, text };
  const url = parseHttpUrl(text);
  const scheme = url.protocol === "https:" ? "https" : "http";
  if (!/:\d+$/.test(text.replace(/\/$/, ""))) throw new Error(`"${text}": the port is missing`);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (/[a-z]/i.test(host) && host !== "localhost" && !host.includes(":")) {
    throw new Error(`"${text}": listen on an IP address or localhost`);
  }
  const port = Number(url.port || (scheme === "https" ? "443" : "80"));
  return { scheme, host, port, text: text.replace(/\/$/, "") };
}

function parseHttpUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new Error(`expected a URL such as http://127.0.0.1:2379, not "${text}"`);
  }
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "" || url.username !== "") {
    throw new Error(`"${text}": only scheme, host and port`);
  }
  return url;
}

/** Comma-separated URLs that clients are told. */
export const advertiseUrlsKind: Kind<string[]> = {
  name: "urls",
  parse(text) {
    const urls = text.split(",").map((part) => part.trim().replace(/\/$/, ""));
    for (const url of urls) if (!/^unixs?:\/\//.test(url)) parseHttpUrl(url);
    return urls;
  },
};

/** file:///DIR, s3://BUCKET/PREFIX?…, memory: */
export const storeUrlKind: Kind<StoreSettings> = { name: "url", parse: parseStoreUrl };

/** "24h", "30d": how long something is kept. In milliseconds. */
export const ageKind: Kind<number> = { name: "age", parse: parseAge };
/** "1h:all,24h:hourly,30d:daily" */
export const tiersKind: Kind<RetentionTier[]> = { name: "tiers", parse: parseTiers };
