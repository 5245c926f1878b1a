import { DerError, DerReader, pemOrDer, Tag } from "./der.ts";

/**
 * The serial numbers of certificates that a file of revocation lists takes back (RFC 5280 §5), in lower-case hex
 * without leading zeros. As in etcd neither the list's signature nor its time is looked at: the file is the operator's,
 * and a list that has run out still takes back what it names. Other than in etcd every list of the file counts.
 *
 * Throws DerError for a file that is none: it must never be taken for an empty list.
 */
export function revokedSerials(file: Buffer): Set<string> {
  const lists = pemOrDer(file, "X509 CRL");
  if (lists.length === 0) throw new DerError("no revocation list in it");
  const serials = new Set<string>();
  for (const list of lists) addSerials(list, serials);
  return serials;
}

function addSerials(list: Buffer, serials: Set<string>): void {
  const toBeSigned = new DerReader(list).sequence().sequence();
  if (toBeSigned.peek() === Tag.integer) toBeSigned.next();
  toBeSigned.sequence();
  toBeSigned.sequence();
  if (!isTime(toBeSigned.next().tag)) throw new DerError("a revocation list says when it was made");
  if (isTime(toBeSigned.peek())) toBeSigned.next();
  // The list of what is revoked is left out where it is empty.
  if (toBeSigned.peek() !== Tag.sequence) return;
  const revoked = toBeSigned.sequence();
  while (!revoked.atEnd) serials.add(serialText(revoked.sequence().expect(Tag.integer).toString("hex")));
}

const isTime = (tag: number): boolean => tag === Tag.utcTime || tag === Tag.generalizedTime;

export const serialText = (hex: string): string => hex.toLowerCase().replace(/^0+(?=.)/, "");
