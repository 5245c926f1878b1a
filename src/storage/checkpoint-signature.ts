import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { assert } from "../base/assert.ts";
import type { ByteReader } from "../base/varint.ts";
import type { ByteWriter } from "./byte-writer.ts";

/**
 * Signatures of a checkpoint (docs/formats/checkpoint.md): Ed25519 (RFC 8032) over all of its bytes before them. They
 * are part of what its id is the hash of, so a checkpoint that is in a later one's history is so with its signatures.
 */
export interface CheckpointSignature {
  /** 32 bytes, 64 hex digits. */
  readonly publicKey: string;
  /** 64 bytes, 128 hex digits. */
  readonly signature: string;
}

/** Signs what is about to be stored. */
export interface CheckpointSigner {
  readonly publicKey: string;
  sign(bytes: Uint8Array): string;
}

const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const SIGNATURES_MAX = 16;
/** What stands before the key in its usual encoding (SubjectPublicKeyInfo of id-Ed25519). */
const PUBLIC_KEY_HEAD = Buffer.from("302a300506032b6570032100", "hex");

/** From a private key in PEM. Throws an Error that says what is expected. */
export function signerOf(pem: string): CheckpointSigner {
  const key = createPrivateKey(pem);
  const publicKey = publicKeyOf(createPublicKey(key));
  return { publicKey, sign: (bytes) => sign(null, bytes, key).toString("hex") };
}

/** A public key in PEM, or a private one, of which the public half is taken: 64 hex digits. */
export const trustedKeyOf = (pem: string): string => publicKeyOf(createPublicKey(pem));

function publicKeyOf(key: KeyObject): string {
  if (key.asymmetricKeyType !== "ed25519") throw new Error(`expected an Ed25519 key, not ${key.asymmetricKeyType}`);
  const der = key.export({ type: "spki", format: "der" });
  assert(der.length === PUBLIC_KEY_HEAD.length + KEY_BYTES, "an Ed25519 key has 32 bytes");
  return der.subarray(PUBLIC_KEY_HEAD.length).toString("hex");
}

/** Appends the number of signatures, and them. */
export function writeSignatures(writer: ByteWriter, signer: CheckpointSigner | null): CheckpointSignature[] {
  const signatures =
    signer === null
      ? []
      : [{ publicKey: signer.publicKey, signature: signer.sign(writer.bytes.subarray(0, writer.at)) }];
  writer.varint(signatures.length);
  for (const { publicKey, signature } of signatures) {
    writer.hex(publicKey, KEY_BYTES);
    writer.hex(signature, SIGNATURE_BYTES);
  }
  return signatures;
}

export function readSignatures(reader: ByteReader): CheckpointSignature[] {
  const count = reader.varint();
  if (count > SIGNATURES_MAX) throw new RangeError(`${count} signatures, expected ${SIGNATURES_MAX} at most`);
  const hex = (length: number): string => Buffer.from(reader.take(length)).toString("hex");
  return Array.from({ length: count }, () => ({ publicKey: hex(KEY_BYTES), signature: hex(SIGNATURE_BYTES) }));
}

/** Whether a signature is of a checkpoint's bytes. */
export function isSignedBy({ publicKey, signature }: CheckpointSignature, signed: Uint8Array): boolean {
  const der = Buffer.concat([PUBLIC_KEY_HEAD, Buffer.from(publicKey, "hex")]);
  const key = createPublicKey({ key: der, type: "spki", format: "der" });
  return verify(null, signed, key, Buffer.from(signature, "hex"));
}

/** The part of a checkpoint's bytes that is signed: all before the signatures and the checksum of four bytes. */
export function signedPart(bytes: Buffer, signatures: readonly CheckpointSignature[]): Buffer {
  const behind = 1 + signatures.length * (KEY_BYTES + SIGNATURE_BYTES) + 4;
  return bytes.subarray(0, bytes.length - behind);
}
