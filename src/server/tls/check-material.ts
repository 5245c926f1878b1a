import { createSecureContext } from "node:tls";
import type { TlsMaterial } from "../../runtime/runtime.ts";

/** Throws where a certificate and its key cannot be used together. */
export function checkMaterial({ certificate, key, clientAuthorities }: TlsMaterial): void {
  createSecureContext({
    cert: certificate,
    key,
    ...(Buffer.isBuffer(clientAuthorities) ? { ca: clientAuthorities } : {}),
  });
}
