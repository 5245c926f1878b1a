import { STATUS_MESSAGE_BYTES_MAX } from "./limits.ts";

/** gRPC's status codes that the transport itself answers with. */
export const GrpcCode = {
  ok: 0,
  deadlineExceeded: 4,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;

const HEX = "0123456789ABCDEF";

/** grpc-message: UTF-8, percent-encoded where it is not printable ASCII (gRPC over HTTP/2, "Status-Message"). */
function encodeGrpcMessage(message: string): string {
  if (message.length <= STATUS_MESSAGE_BYTES_MAX && isPlain(message)) return message;
  const bytes = Buffer.from(message, "utf8");
  const length = Math.min(bytes.length, STATUS_MESSAGE_BYTES_MAX);
  let encoded = "";
  for (let i = 0; i < length; i++) {
    const byte = bytes[i]!;
    // A space at either end would not survive as a field value.
    const plain = byte === 0x20 ? i > 0 && i < length - 1 : byte > 0x20 && byte <= 0x7e && byte !== 0x25;
    if (plain) encoded += String.fromCharCode(byte);
    else encoded += `%${HEX.charAt(byte >>> 4)}${HEX.charAt(byte & 15)}`;
  }
  return encoded;
}

function isPlain(message: string): boolean {
  for (let i = 0; i < message.length; i++) {
    const code = message.charCodeAt(i);
    if (code < 0x20 || code > 0x7e || code === 0x25) return false;
  }
  return message.trim() === message;
}

export function statusFields(code: number, message: string): Record<string, string> {
  const fields: Record<string, string> = { "grpc-status": String(code) };
  if (message !== "") fields["grpc-message"] = encodeGrpcMessage(message);
  return fields;
}
