import { join } from "node:path";
import type { Clock, Disk } from "../../runtime/runtime.ts";
import { makeCertificate } from "./certificate.ts";

const YEAR_MS = 365 * 86_400_000;
const FILE_BYTES_MAX = 1 << 20;
/** Clients' clocks may be behind ours. */
const BEFORE_MS = 5 * 60_000;

/**
 * The certificate of --auto-tls, at etcd's place in the data directory, for the hosts listened on. Made where there is
 * none; the one that is there is kept, as clients may have been given it.
 */
export async function selfSignedPair(
  runtime: { disk: Disk; clock: Clock },
  options: { dataDirectory: string; hosts: readonly string[]; years: number },
): Promise<{ certificatePath: string; keyPath: string; made: boolean }> {
  const { disk, clock } = runtime;
  const directory = join(options.dataDirectory, "fixtures", "client");
  const pair = { certificatePath: join(directory, "cert.pem"), keyPath: join(directory, "key.pem") };
  const found = await Promise.all(Object.values(pair).map((path) => disk.readFile(path, FILE_BYTES_MAX)));
  if (found.every((file) => file !== null)) return { ...pair, made: false };
  const nowMs = clock.wallMs();
  const { certificatePem, keyPem } = makeCertificate({
    commonName: "",
    organization: "t4",
    hosts: options.hosts,
    notBeforeMs: nowMs - BEFORE_MS,
    notAfterMs: nowMs + options.years * YEAR_MS,
    usages: ["server", "client"],
  });
  await disk.makeDirectory(directory);
  // The certificate last: a start that finds both finds a pair. Two processes that start at once on one directory may
  // leave halves of two pairs; that is told of at the next start, and only one of them gets the directory's lock.
  await disk.writeFile(pair.keyPath, Buffer.from(keyPem));
  await disk.writeFile(pair.certificatePath, Buffer.from(certificatePem));
  return { ...pair, made: true };
}
