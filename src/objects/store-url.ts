import { DbError } from "../base/errors.ts";

/** Where a repository lives, as a URL says it. */
export type StoreSettings = FileStoreSettings | MemoryStoreSettings | S3StoreSettings;

export interface FileStoreSettings {
  kind: "file";
  /** An absolute path. */
  directory: string;
}

export interface MemoryStoreSettings {
  kind: "memory";
}

export interface S3StoreSettings {
  kind: "s3";
  bucket: string;
  /** "" or without slashes at its ends. */
  prefix: string;
  /** Origin, such as "http://127.0.0.1:9000"; null: Amazon's of the region. */
  endpoint: string | null;
  region: string | null;
  /** The bucket stands in the path, not in the host name. */
  pathStyle: boolean;
  profile: string | null;
  /** File of certificates (PEM) to trust instead of the system's. */
  caFile: string | null;
  encryption: { algorithm: "AES256" } | { algorithm: "aws:kms"; keyId: string | null } | null;
  storageClass: string | null;
}

/** Classes whose objects can be read at once. */
const storageClasses = [
  "STANDARD",
  "STANDARD_IA",
  "ONEZONE_IA",
  "INTELLIGENT_TIERING",
  "GLACIER_IR",
  "REDUCED_REDUNDANCY",
];

/**
 * `file:///absolute/directory`, `memory:`, or
 * `s3://bucket/prefix?endpoint=…&region=…&path-style=true|false&profile=…&ca=FILE
 * &sse=AES256|aws:kms[:KEY]&storage-class=…`. Throws `invalidArgument` with one line that names what is wrong.
 */
export function parseStoreUrl(text: string): StoreSettings {
  const wrong = (what: string) => new DbError("invalidArgument", `store ${JSON.stringify(text)}: ${what}`);
  const match = /^([a-z][a-z0-9+.-]*):([^?#]*)(?:\?([^#]*))?$/i.exec(text);
  if (!match) throw wrong("is no URL: expected file:///directory, s3://bucket/prefix or memory:");
  const [, scheme = "", rest = "", query] = match;
  switch (scheme.toLowerCase()) {
    case "memory":
      if (rest !== "" || query !== undefined) throw wrong("memory: takes nothing behind it");
      return { kind: "memory" };
    case "file":
      if (query !== undefined) throw wrong("file: takes no options");
      return { kind: "file", directory: directoryOf(rest, wrong) };
    case "s3":
      return parseS3(rest, query ?? "", wrong);
    default:
      throw wrong(`unknown kind ${scheme}: expected file, s3 or memory`);
  }
}

type Wrong = (what: string) => DbError;

function directoryOf(rest: string, wrong: Wrong): string {
  if (!rest.startsWith("///")) throw wrong("a directory is given by its absolute path, as in file:///var/lib/t4");
  const directory = decoded(rest.slice(2), wrong).replace(/\/+$/, "");
  if (directory === "" || directory.includes("\0")) throw wrong("names no directory that can be a store");
  if (directory.split("/").includes("..")) throw wrong('the path of a directory has no ".."');
  return directory;
}

function parseS3(rest: string, query: string, wrong: Wrong): S3StoreSettings {
  const place = /^\/\/([^/]*)(?:\/(.*))?$/.exec(rest);
  const bucket = place?.[1] ?? "";
  if (bucket === "") throw wrong("names no bucket: expected s3://bucket/prefix");
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/.test(bucket)) throw wrong(`${bucket} cannot name a bucket`);
  const options = optionsOf(query, wrong);
  const take = (name: string): string | null => {
    const value = options.get(name) ?? null;
    options.delete(name);
    if (value === "") throw wrong(`option ${name} is empty`);
    return value;
  };
  const endpoint = endpointOf(take("endpoint"), wrong);
  const pathStyle = take("path-style");
  if (pathStyle !== null && pathStyle !== "true" && pathStyle !== "false") throw wrong("path-style is true or false");
  const storageClass = take("storage-class");
  if (storageClass !== null && !storageClasses.includes(storageClass)) {
    throw wrong(`storage-class ${storageClass} is not one of ${storageClasses.join(", ")}`);
  }
  const region = take("region");
  if (region !== null && !/^[a-z0-9-]{1,63}$/i.test(region)) throw wrong(`${region} cannot name a region`);
  const settings: S3StoreSettings = {
    kind: "s3",
    bucket,
    prefix: prefixOf(place?.[2] ?? "", wrong),
    endpoint,
    region,
    // A store of one's own rarely has a host name for each bucket, and no certificate covers a bucket name with dots.
    pathStyle: pathStyle === null ? endpoint !== null || bucket.includes(".") : pathStyle === "true",
    profile: take("profile"),
    caFile: take("ca"),
    encryption: encryptionOf(take("sse"), wrong),
    storageClass,
  };
  const unknown = options.keys().next();
  if (!unknown.done) throw wrong(`unknown option ${unknown.value}`);
  return settings;
}

function prefixOf(text: string, wrong: Wrong): string {
  const prefix = decoded(text, wrong).replace(/\/+$/, "");
  if (prefix === "") return "";
  if (Buffer.byteLength(prefix) > 512) throw wrong("the prefix is over 512 bytes long");
  if (prefix.split("/").some((part) => part === "" || part === "." || part === "..")) {
    throw wrong('the prefix has an empty, "." or ".." part');
  }
  return prefix;
}

function optionsOf(query: string, wrong: Wrong): Map<string, string> {
  const options = new Map<string, string>();
  for (const field of query.split("&")) {
    if (field === "") continue;
    const at = field.indexOf("=");
    const name = at < 0 ? field : field.slice(0, at);
    if (options.has(name)) throw wrong(`option ${name} is given twice`);
    options.set(name, at < 0 ? "" : decoded(field.slice(at + 1), wrong));
  }
  return options;
}

function endpointOf(text: string | null, wrong: Wrong): string | null {
  if (text === null) return null;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw wrong(`endpoint ${text} is not an http or https URL`);
  }
  if (url.username !== "" || url.password !== "") throw wrong("credentials do not belong into the endpoint");
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "")
    throw wrong(`endpoint ${text} has more than a host and a port`);
  return url.origin;
}

function encryptionOf(text: string | null, wrong: Wrong): S3StoreSettings["encryption"] {
  if (text === null) return null;
  if (text === "AES256") return { algorithm: "AES256" };
  if (text === "aws:kms") return { algorithm: "aws:kms", keyId: null };
  if (text.startsWith("aws:kms:") && text.length > 8) return { algorithm: "aws:kms", keyId: text.slice(8) };
  throw wrong(`sse ${text} is not AES256, aws:kms or aws:kms:KEY`);
}

function decoded(text: string, wrong: Wrong): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrong(`${text} has a broken %-escape`);
  }
}
