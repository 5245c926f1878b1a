import type { X509Certificate } from "node:crypto";

/** The last one, where a subject has several; "" where it has none. */
export function commonNameOf(certificate: X509Certificate): string {
  const name: string | string[] | undefined = certificate.toLegacyObject().subject.CN;
  return (Array.isArray(name) ? name.at(-1) : name) ?? "";
}
