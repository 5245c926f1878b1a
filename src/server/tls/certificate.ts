import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIPv4, isIPv6 } from "node:net";
import { der, objectIdentifier, pem, sequence, Tag, time, unsignedInteger } from "./der.ts";

/** What a certificate is made of (RFC 5280 §4). Keys are ECDSA over P-256. */
export interface CertificateRequest {
  readonly commonName: string;
  readonly organization?: string;
  /** DNS names and IP addresses. */
  readonly hosts?: readonly string[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly isAuthority?: boolean;
  readonly usages?: readonly ("server" | "client")[];
}

export interface MadeCertificate {
  readonly certificatePem: string;
  readonly keyPem: string;
  /** For signing further ones. */
  readonly issuer: Issuer;
  readonly serialHex: string;
}

export interface Issuer {
  readonly name: Buffer;
  readonly key: KeyObject;
}

const ECDSA_WITH_SHA256 = "1.2.840.10045.4.3.2";
const VERSION_3 = 2;
const usageOids = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" };

const algorithm = (): Buffer => sequence(objectIdentifier(ECDSA_WITH_SHA256));
const text = (value: string): Buffer => der(Tag.utf8String, Buffer.from(value, "utf8"));
const TRUE = der(Tag.boolean, Buffer.from([0xff]));

/** Signed by `issuer`, or by itself. */
export function makeCertificate(request: CertificateRequest, issuer?: Issuer): MadeCertificate {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const name = nameOf(request);
  const signer = issuer ?? { name, key: privateKey };
  const serial = randomBytes(16);
  serial[0]! &= 0x7f;
  serial[0]! |= 0x40;
  const toBeSigned = sequence(
    der(0xa0, der(Tag.integer, Buffer.from([VERSION_3]))),
    unsignedInteger(serial),
    algorithm(),
    signer.name,
    sequence(time(request.notBeforeMs), time(request.notAfterMs)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(...extensionsOf(request))),
  );
  return {
    certificatePem: pem("CERTIFICATE", signed(toBeSigned, signer.key)),
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    issuer: { name, key: createPrivateKey(privateKey.export({ type: "pkcs8", format: "pem" })) },
    serialHex: serial.toString("hex"),
  };
}

/** A revocation list of these serial numbers, as PEM. */
export function makeRevocationList(issuer: Issuer, serialsHex: readonly string[], nowMs: number): string {
  const revoked = serialsHex.map((serial) => sequence(unsignedInteger(Buffer.from(serial, "hex")), time(nowMs)));
  const toBeSigned = sequence(
    der(Tag.integer, Buffer.from([1])),
    algorithm(),
    issuer.name,
    time(nowMs),
    ...(revoked.length === 0 ? [] : [sequence(...revoked)]),
  );
  return pem("X509 CRL", signed(toBeSigned, issuer.key));
}

function signed(toBeSigned: Buffer, key: KeyObject): Buffer {
  const signature = sign("sha256", toBeSigned, { key, dsaEncoding: "der" });
  return sequence(toBeSigned, algorithm(), der(Tag.bitString, Buffer.from([0]), signature));
}

function nameOf({ organization, commonName }: CertificateRequest): Buffer {
  const attribute = (oid: string, value: string): Buffer => der(Tag.set, sequence(objectIdentifier(oid), text(value)));
  const parts = organization === undefined ? [] : [attribute("2.5.4.10", organization)];
  if (commonName !== "") parts.push(attribute("2.5.4.3", commonName));
  return sequence(...parts);
}

function extensionsOf({ hosts = [], isAuthority = false, usages = [] }: CertificateRequest): Buffer[] {
  const extensions = [extension("2.5.29.19", true, isAuthority ? sequence(TRUE) : sequence())];
  // The first bits of the string: digitalSignature; keyCertSign and cRLSign for an authority.
  const keyUsage = isAuthority ? Buffer.from([1, 0x06]) : Buffer.from([7, 0x80]);
  extensions.push(extension("2.5.29.15", true, der(Tag.bitString, keyUsage)));
  if (usages.length > 0) {
    const oids = usages.map((usage) => objectIdentifier(usageOids[usage]));
    extensions.push(extension("2.5.29.37", false, sequence(...oids)));
  }
  if (hosts.length > 0) extensions.push(extension("2.5.29.17", false, sequence(...hosts.map(generalName))));
  return extensions;
}

const extension = (oid: string, critical: boolean, value: Buffer): Buffer =>
  sequence(objectIdentifier(oid), ...(critical ? [TRUE] : []), der(Tag.octetString, value));

function generalName(host: string): Buffer {
  const address = addressBytes(host);
  return address === null ? der(0x82, Buffer.from(host, "latin1")) : der(0x87, address);
}

function addressBytes(host: string): Buffer | null {
  if (isIPv4(host)) return Buffer.from(host.split(".").map(Number));
  if (!isIPv6(host)) return null;
  const [left = "", right = ""] = new URL(`http://[${host}]`).hostname.slice(1, -1).split("::");
  const groups = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const head = groups(left);
  const tail = groups(right);
  const bytes = Buffer.alloc(16);
  for (const [n, group] of head.entries()) bytes.writeUInt16BE(group, n * 2);
  for (const [n, group] of tail.entries()) bytes.writeUInt16BE(group, 16 - (tail.length - n) * 2);
  return bytes;
}
